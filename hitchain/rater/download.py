"""Fetching public collections: resumed where it broke off, checked against published checksums, unpacked safely.

The Free Music Archive's archives and their SHA-1 sums are those of its authors' page (https://github.com/mdeff/fma):
metadata 342 MiB, small 7.2 GiB (8,000 clips of 30 s), medium 22 GiB (25,000), large 93 GiB (106,574).
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.files import read_json, replacing, write_json
from hitchain.progress import Progress

FMA = "https://os.unil.cloud.switch.ch/fma"
USAGE_KEYS = ("out", "mirror", "keep")
BLOCK = 1 << 20
TIMEOUT_SECONDS = 60.0
ATTEMPTS = 5
"""Connections in a row that bring nothing, before giving up."""
PAUSE_SECONDS = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Archive:
    """A zip file: its name at the address, the SHA-1 of its bytes, and the one folder that it holds."""

    name: str
    sha1: str
    folder: str


@dataclass(frozen=True)
class Collection:
    """Archives that lie at one address, and how to train on them."""

    address: str
    archives: tuple[Archive, ...]
    usage: str


_METADATA = Archive("fma_metadata.zip", "f0df49ffe5f2a6008d7dc83c6915b31835dfe733", "fma_metadata")
_CLIPS = {
    "small": "ade154f733639d52e35e32f5593efe5be76c6d70",
    "medium": "c67b69ea232021025fca9231fc1c7c1a063ab50b",
    "large": "497109f4dd721066b5ce5e5f250ec604dc78939e",
}
COLLECTIONS = {
    f"fma-{size}": Collection(
        FMA,
        (_METADATA, Archive(f"fma_{size}.zip", sha1, f"fma_{size}")),
        f"hitchain prepare source=fma source.path={{out}} source.subset={size}",
    )
    for size, sha1 in _CLIPS.items()
}


def download_words(words: Sequence[str]) -> None:
    """`hitchain download fma-small out=FOLDER [mirror=URL] [keep=true]`."""
    names = [word for word in words if "=" not in word]
    values = dict(word.split("=", 1) for word in words if "=" in word)
    for key in values:
        if key not in USAGE_KEYS:
            raise UserError(f"unknown key '{key}'; {nearest(key, USAGE_KEYS)}")
    if len(names) != 1 or names[0] not in COLLECTIONS:
        wanted = " ".join(names) or "nothing"
        raise UserError(f"download takes one collection, not '{wanted}'; {nearest(wanted, COLLECTIONS)}")
    if not values.get("out"):
        raise UserError(f"download needs a folder: hitchain download {names[0]} out=FOLDER")
    keep = values.get("keep", "false").casefold()
    if keep not in ("true", "false"):
        raise UserError(f"keep={values['keep']!r} should be true or false.")
    download(COLLECTIONS[names[0]], Path(values["out"]), values.get("mirror"), keep == "true")


def download(
    collection: Collection, out: Path, mirror: str | None = None, keep: bool = False, say: Say = print
) -> list[Path]:
    """Fetch, check and unpack a collection; what an earlier call finished is not done again.

    Args:
        out: the folder for the collection's own folders.
        mirror: an address (http or https) to fetch from instead of the collection's; the checksums are the same.
        keep: whether the archives stay when they are unpacked.

    Returns:
        The unpacked folders.

    Raises:
        UserError: the address cannot be reached or breaks off for good (what came is kept), the disk is too small, or
            an archive is not the published one, or would write outside its folder (nothing of it is unpacked).
    """
    address = (mirror or collection.address).rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise UserError(f"mirror={mirror!r} should be an address that begins with http:// or https://.")
    folders = []
    for archive in collection.archives:
        folder = out / archive.folder
        if _finished(out, archive):
            say(f"there     {folder}")
        else:
            file = _fetched(f"{address}/{archive.name}", out / archive.name, archive.sha1)
            count = _unpack(file, out, archive)
            write_json(_mark(out, archive), {"archive": archive.name, "sha1": archive.sha1, "files": count})
            say(f"unpacked  {folder}  ({count} files)")
            if not keep:
                file.unlink()
        folders.append(folder)
    say(f"next      {collection.usage.format(out=out)}")
    return folders


def _mark(out: Path, archive: Archive) -> Path:
    """Says that an archive is unpacked whole."""
    return out / f".{archive.folder}.json"


def _finished(out: Path, archive: Archive) -> bool:
    mark = _mark(out, archive)
    if not mark.is_file() or not (out / archive.folder).is_dir():
        return False
    value = read_json(mark, "download's mark")
    return isinstance(value, dict) and value.get("sha1") == archive.sha1


def _fetched(url: str, file: Path, sha1: str) -> Path:
    """The archive, whole and checked. Until then it is FILE.part, which a later call takes up."""
    if file.is_file() and _sha1(file) == sha1:
        return file
    part = file.with_name(file.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part)
    except OSError as error:
        raise UserError(
            f"cannot write {part}: {error.strerror or error}. Choose another folder with out=FOLDER."
        ) from error
    found = _sha1(part)
    if found != sha1:
        part.unlink()
        raise UserError(
            f"{url} is not the published archive: its SHA-1 is {found}, it should be {sha1}. It was removed; "
            "try again, or another mirror=URL."
        )
    part.replace(file)
    return file


def _fetch(url: str, part: Path) -> None:
    """Bring all bytes into `part`, going on after broken connections as long as each brings some."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _connect(url, part, before):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise UserError(f"cannot fetch {url}: {error.code} {error.reason}. Give another mirror=URL.") from error
            reason = f"{error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", error))
        failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
        if failures >= ATTEMPTS:
            kept = f" What came is kept in {part}; the same command goes on from there." if part.exists() else ""
            raise UserError(f"cannot fetch {url}: {reason}.{kept}")
        time.sleep(PAUSE_SECONDS * failures)


def _connect(url: str, part: Path, start: int) -> bool:
    """One connection, from byte `start`. Returns whether the file is whole."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing lies behind the last byte: it is whole, or not this file's
            return True
        raise
    with response:
        if response.status != 206:
            start = 0  # the server knows no ranges and sends everything
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        if total is not None:
            _check_space(part, total - start)
        with part.open("ab" if start else "wb") as file:
            done = _copy(response, file, start, total, part.stem)
    return total is None or done == total


def _copy(response: Any, file: Any, start: int, total: int | None, name: str) -> int:
    done, shown = start, None if total is None else -(-total // BLOCK)
    with Progress(shown, name, initial=start // BLOCK, unit="megabyte") as progress:
        while block := _block(response):
            file.write(block)
            done += len(block)
            progress.update(-(-done // BLOCK))
    return done


def _block(response: Any) -> bytes:
    """What comes next; what came before a connection broke counts."""
    try:
        return bytes(response.read(BLOCK))
    except http.client.IncompleteRead as error:
        return error.partial
    except (TimeoutError, ConnectionError):
        return b""


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(
            f"{path.parent} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; "
            "choose another folder with out=FOLDER."
        )


def _sha1(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha1").hexdigest()


def _unpack(file: Path, out: Path, archive: Archive) -> int:
    """Unpack an archive's files, those that an earlier call wrote left out. Returns how many files it holds."""
    try:
        with zipfile.ZipFile(file) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                _check_member(file, member, archive.folder)
            missing = [member for member in members if not _there(out / member.filename, member)]
            _check_space(file, sum(member.file_size for member in missing))
            with Progress(
                len(members), f"unpacking {archive.folder}", initial=len(members) - len(missing), unit="file"
            ) as progress:
                for count, member in enumerate(missing, len(members) - len(missing) + 1):
                    _write(opened, member, out / member.filename)
                    progress.update(count)
            return len(members)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UserError(f"cannot unpack {file}: {error}.") from error


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    with replacing(path) as target, opened.open(member) as source, target.open("wb") as written:
        shutil.copyfileobj(source, written, BLOCK)


def _there(path: Path, member: zipfile.ZipInfo) -> bool:
    """Whether an earlier call wrote this very file, by its size and checksum."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    checksum = 0
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum == member.CRC


def _check_member(file: Path, member: zipfile.ZipInfo, folder: str) -> None:
    """Raise `UserError` where a member would leave its folder, or is no plain file."""
    name = member.filename
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(member.external_attr >> 16)
    if "\\" in name or ".." in parts or parts[:1] != (folder,):
        raise UserError(f"{file} holds {name!r}, which lies outside its folder {folder!r}. Nothing was unpacked.")
    if kind not in (0, stat.S_IFREG):
        raise UserError(f"{file} holds {name!r}, which is a link or a device. Nothing was unpacked.")
