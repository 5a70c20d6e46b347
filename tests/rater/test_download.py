"""Downloads from a server on this machine: cut connections, wrong archives, archives that mean harm."""

from __future__ import annotations

import hashlib
import http.server
import io
import re
import stat
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hitchain import cli
from hitchain.errors import UserError
from hitchain.rater import download, sources
from hitchain.rater.download import Archive, Collection

HEADER = (
    ",album,artist,set,set,track,track,track,track\n"
    ",title,name,split,subset,date_created,favorites,genre_top,listens\n"
    "track_id,,,,,,,,\n"
)


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; closes each of the first connections of `cuts` after so many bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.ranges = True
        self.status = 200
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Range"))
        data = self.server.files.get(self.path.lstrip("/"))
        if data is None or self.server.status >= 400:
            self.send_error(self.server.status if data is not None else 404)
            return
        start = 0
        if self.server.ranges and (match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")):
            start = int(match[1])
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data) if not self.server.cuts else start + self.server.cuts.pop(0)
        self.wfile.write(data[start:end])

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(download, "BLOCK", 4096)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def collection(server: Server, **archives: bytes) -> Collection:
    made = []
    for folder, data in archives.items():
        server.files[f"{folder}.zip"] = data
        made.append(Archive(f"{folder}.zip", hashlib.sha1(data).hexdigest(), folder))
    return Collection(server.address, tuple(made), "use {out}")


def little_fma(server: Server) -> Collection:
    """Five clips in FMA's layout: one has more favorites than listens, one is not there, one is of another subset."""
    random = np.random.default_rng(0)
    tracks = [
        (2, "small", 2, 1293),
        (5, "small", 6, 1151),
        (1001, "small", 9, 3),
        (1002, "small", 1, 10),
        (7, "large", 1, 9),
    ]
    table = HEADER + "".join(
        f'{n},"An, album",Ann,training,{subset},2008-11-26 01:48:12,{likes},Rock,{plays}\n'
        for n, subset, likes, plays in tracks
    )
    clips = {f"fma_small/{n // 1000:03d}/{n:06d}.mp3": random.bytes(9000) for n in (2, 5, 1001, 7)}
    return collection(
        server,
        fma_metadata=zipped({"fma_metadata/tracks.csv": table.encode(), "fma_metadata/README.txt": b"x"}),
        fma_small=zipped({**clips, "fma_small/checksums": b"sums"}),
    )


def test_a_collection_is_fetched_unpacked_and_read(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    wanted = little_fma(server)
    folders = download.download(wanted, tmp_path / "fma", say=said.append)
    assert folders == [tmp_path / "fma" / "fma_metadata", tmp_path / "fma" / "fma_small"]
    assert not list((tmp_path / "fma").glob("*.zip*"))
    rows, skipped = sources.read({"kind": "fma", "path": tmp_path / "fma", "subset": "small"})
    assert [(row.name, row.plays, row.likes, row.labels["genre"]) for row in rows] == [
        ("000/000002.mp3", 1293.0, 2.0, "Rock"), ("000/000005.mp3", 1151.0, 6.0, "Rock"),
    ]  # fmt: skip
    assert sources.counted(skipped) == {"missing": 1, "likes_above_plays": 1}
    asked = len(server.asked)
    download.download(wanted, tmp_path / "fma", say=said.append)
    assert len(server.asked) == asked  # what is there is not asked for again
    assert said[-1].endswith(f"use {tmp_path / 'fma'}")


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_connections_are_taken_up(server: Server, tmp_path: Path, ranges: bool) -> None:
    wanted, server.ranges = little_fma(server), ranges
    server.cuts = [100, 50, 20_000, 1, 3000]
    download.download(wanted, tmp_path, say=lambda text: None)
    assert len(server.asked) == 6
    assert server.asked[1] == "bytes=100-"
    assert len(list((tmp_path / "fma_small").rglob("*.mp3"))) == 4


def test_what_came_before_the_command_was_killed_is_kept(server: Server, tmp_path: Path) -> None:
    wanted = little_fma(server)
    server.cuts = [500, *[0] * download.ATTEMPTS]
    with pytest.raises(UserError, match="goes on from there"):
        download.download(wanted, tmp_path, say=lambda text: None)
    assert not server.cuts
    assert (tmp_path / "fma_metadata.zip.part").stat().st_size == 500
    server.cuts, server.asked = [], []
    download.download(wanted, tmp_path, keep=True, say=lambda text: None)
    assert server.asked[0] == "bytes=500-"
    assert (tmp_path / "fma_small.zip").read_bytes() == server.files["fma_small.zip"]


def test_unpacking_is_taken_up(server: Server, tmp_path: Path) -> None:
    wanted = little_fma(server)
    download.download(wanted, tmp_path, keep=True, say=lambda text: None)
    (tmp_path / ".fma_small.json").unlink()
    (tmp_path / "fma_small" / "000" / "000002.mp3").unlink()
    (tmp_path / "fma_small" / "000" / "000007.mp3").write_bytes(bytes(9000))
    kept = tmp_path / "fma_small" / "000" / "000005.mp3"
    before, server.asked = kept.stat().st_mtime_ns, []
    download.download(wanted, tmp_path, say=lambda text: None)
    assert server.asked == []
    assert kept.stat().st_mtime_ns == before
    assert (tmp_path / "fma_small" / "000" / "000002.mp3").stat().st_size == 9000
    assert any((tmp_path / "fma_small" / "000" / "000007.mp3").read_bytes())


def test_another_archive_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    wanted = little_fma(server)
    server.files["fma_metadata.zip"] = server.files["fma_metadata.zip"][:-1] + b"!"
    with pytest.raises(
        UserError, match=r"not the published archive: its SHA-1 is .* should be " + wanted.archives[0].sha1
    ):
        download.download(wanted, tmp_path, say=lambda text: None)
    assert list(tmp_path.iterdir()) == []


def link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("fma_small/link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "name", ["../evil", "fma_small/../../evil", "/etc/evil", "other/evil", "fma_small\\..\\evil", "evil", link()]
)
def test_nothing_is_unpacked_of_an_archive_that_means_harm(
    server: Server, tmp_path: Path, name: str | zipfile.ZipInfo
) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("fma_small/good.mp3", b"good")
        archive.writestr(name, b"/etc/passwd")
    with pytest.raises(UserError, match="Nothing was unpacked"):
        download.download(collection(server, fma_small=data.getvalue()), tmp_path / "in", say=lambda text: None)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["fma_small.zip"]


def test_a_file_that_is_no_archive_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot unpack"):
        download.download(collection(server, fma_small=b"not a zip"), tmp_path, say=lambda text: None)


def test_a_server_that_does_not_answer_is_told(server: Server, tmp_path: Path) -> None:
    wanted = little_fma(server)
    server.status = 503
    with pytest.raises(UserError, match="503"):
        download.download(wanted, tmp_path, say=lambda text: None)
    assert len(server.asked) == download.ATTEMPTS
    server.status = 200
    del server.files["fma_metadata.zip"]
    with pytest.raises(UserError, match="404"):
        download.download(wanted, tmp_path, say=lambda text: None)
    with pytest.raises(UserError, match=r"cannot fetch http://127\.0\.0\.1:1/"):
        download.download(wanted, tmp_path, "http://127.0.0.1:1", say=lambda text: None)
    with pytest.raises(UserError, match="begins with http"):
        download.download(wanted, tmp_path, "file:///etc", say=lambda text: None)


def test_a_full_disk_is_told_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="are needed"):
        download.download(little_fma(server), tmp_path, say=lambda text: None)


def test_the_command(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(download.COLLECTIONS, "fma-small", little_fma(server))
    words = ["download", "fma-small", f"out={tmp_path / 'fma'}", f"mirror={server.address}/"]
    assert cli.main(words) == 0
    assert "unpacked" in capsys.readouterr().out
    for wrong, told in (
        (["download"], "one collection"), (["download", "fma-smal", "out=x"], "did you mean 'fma-small'"),
        (["download", "fma-small"], "out=FOLDER"), (["download", "fma-small", "to=x"], "unknown key 'to'"),
        (["download", "fma-small", "out=x", "keep=maybe"], "true or false"),
    ):  # fmt: skip
        assert cli.main(wrong) == 2
        assert told in capsys.readouterr().err


def test_the_published_checksums_are_sha1_sums() -> None:
    assert set(download.COLLECTIONS) == {"fma-small", "fma-medium", "fma-large"}
    for archives in (one.archives for one in download.COLLECTIONS.values()):
        assert archives[0].folder == "fma_metadata"
        assert all(re.fullmatch("[0-9a-f]{40}", archive.sha1) for archive in archives)
