"""Preparing a source: what the shards hold, and what survives kills, changes and damage."""

from __future__ import annotations

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hitchain.cli import main
from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEnd
from hitchain.rater.shards import Prepared, PrepareSettings, decode, local, mel, preparation, prepare
from hitchain.rater.shards.shard import Done, File, Job

Audio = NDArray[np.float32]
FORMATS = ((44_100, 2, "wav"), (32_000, 2, "flac"), (22_050, 1, "wav"), (48_000, 4, "wav"), (16_000, 2, "ogg"))


def tune(seconds: float, rate: int, channels: int, seed: int) -> Audio:
    """Notes of random pitch over a little noise: (samples, channels)."""
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate)) / rate
    notes = np.array([220.0 * 2 ** (random.integers(0, 24) / 12) for _ in range(1 + int(seconds * 4))])
    phase = 2 * np.pi * np.cumsum(notes[(times * 4).astype(int)]) / rate
    voice = np.sin(phase) + 0.4 * np.sin(2.01 * phase)
    noise = random.standard_normal((len(times), channels))
    return (0.2 * voice[:, None] * random.uniform(0.5, 1.0, channels) + 0.02 * noise).astype(np.float32)


def write_manifest(folder: Path, names: list[str], columns: str = "") -> Path:
    lines = [
        f"{name},{1000 + 10 * k},{20 + k},artist {k % 6},{'rock' if k % 2 else 'jazz'}" for k, name in enumerate(names)
    ]
    path = folder / "songs.csv"
    path.write_text("path,plays,likes,artist,genre\n" + "\n".join(lines) + "\n" + columns, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ten recordings of several rates, channels and containers, and their manifest."""
    folder = tmp_path_factory.mktemp("songs")
    names = []
    for number in range(10):
        rate, channels, suffix = FORMATS[number % len(FORMATS)]
        names.append(f"song {number}.{suffix}")
        soundfile.write(folder / names[-1], tune(1.5 + 0.2 * number, rate, channels, number), rate)
    write_manifest(folder, names)
    return folder


@pytest.fixture(scope="module")
def prepared(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return make(songs, tmp_path_factory.mktemp("prepared") / "set")


def make(songs: Path, out: Path, **values: Any) -> Prepared:
    given_values = {"workers": 1, **values}
    return prepare({"kind": "manifest", "path": str(songs / "songs.csv")}, out, PrepareSettings(**given_values), hush)


def hush(_: str) -> None:
    """Say nothing."""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a prepared set but the two that say how it was made."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.name not in ("result.json", "config.yaml")
    }


def reference(path: Path) -> Audio:
    """A recording as soundfile decodes it and soxr resamples it at once: (2, samples)."""
    data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if data.shape[1] == 1:
        data = np.concatenate([data, data], axis=1)
    if data.shape[1] == 4:
        data = np.stack([(data[:, 0] + data[:, 2]) / 2, (data[:, 1] + data[:, 3]) / 2], axis=1)
    return np.asarray(data if rate == 32_000 else soxr.resample(data, rate, 32_000, quality="HQ")).T


def test_audio_is_the_decoded_audio_to_half_a_step(prepared: Prepared) -> None:
    assert prepared.kind == "audio"
    assert len(prepared) == 10
    for index, entry in enumerate(prepared.entries):
        wanted = reference(entry.row.path)
        got = prepared.crop(index, 0, entry.length)
        assert got.dtype == np.float32
        assert got.shape == wanted.shape
        assert entry.scale == pytest.approx(np.abs(wanted).max() / 32_767, rel=1e-6)
        # half a step, and what float32 rounds at 16 bits: 2^-24 of 32767 steps, twice
        assert np.abs(got - wanted).max() <= (0.5 + 0.005) * entry.scale


def test_frames_are_the_front_ends_to_float16(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mel, "BLOCK_FRAMES", 7)  # many blocks, the last of any length
    made = make(songs, tmp_path / "mel", kind="mel")
    for index, entry in enumerate(made.entries):
        audio = torch.from_numpy(reference(entry.row.path).copy())[None]
        wanted = FrontEnd()(audio, 32_000)[0].numpy()
        got = made.crop(index, 0, entry.length)
        assert got.shape == wanted.shape
        # float16 has 11 bits: half a step is 2^-11 for values from 1 to 2; float32 sums differ by less than a tenth
        np.testing.assert_allclose(got, wanted, atol=1.1 * 2.0**-11)
        assert made.seconds(index) == pytest.approx(audio.shape[-1] / 32_000, abs=0.03)
    assert made.front_end == FrontEnd().settings.as_dict()


def test_quiet_and_hot_recordings_keep_their_level_and_their_bits(tmp_path: Path) -> None:
    levels = {"quiet.wav": 0.002, "full.wav": 1.0, "hot.wav": 4.0}
    for number, (name, peak) in enumerate(levels.items()):
        audio = tune(2.0, 32_000, 2, number)
        soundfile.write(tmp_path / name, audio * (peak / np.abs(audio).max()), 32_000, subtype="FLOAT")
    write_manifest(tmp_path, list(levels))
    made = make(tmp_path, tmp_path / "out")
    for index, (name, peak) in enumerate(levels.items()):
        got, wanted = made.crop(index, 0, made.entries[index].length), reference(tmp_path / name)
        assert np.abs(got).max() == pytest.approx(peak, rel=1e-4)
        noise = 10 * np.log10(np.mean((got - wanted) ** 2) / np.mean(wanted**2))
        assert noise < -80  # 16 bits at full scale are -98 dB under a sine; the tune's crest takes some


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_crop_is_that_piece_of_the_whole(prepared: Prepared, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(prepared) - 1))
    length = prepared.entries[index].length
    start = data.draw(st.integers(0, length))
    count = data.draw(st.integers(0, length - start))
    whole = prepared.crop(index, 0, length)
    np.testing.assert_array_equal(prepared.crop(index, start, count), whole[:, start : start + count])


def test_a_crop_beyond_the_recording_is_refused(prepared: Prepared) -> None:
    length = prepared.entries[3].length
    for start, count in ((-1, 5), (length - 4, 5), (0, length + 1), (5, -1)):
        with pytest.raises(ValueError, match="song 3"):
            prepared.crop(3, start, count)


def test_an_excerpt_is_the_middle(songs: Path, tmp_path: Path) -> None:
    made = make(songs, tmp_path / "out", seconds_per_song=1.0)
    entry = made.entries[6]  # 32 kHz, not resampled
    whole = reference(entry.row.path)
    start = (whole.shape[1] - 32_000) // 2
    assert entry.length == 32_000
    np.testing.assert_allclose(made.crop(6, 0, 32_000), whole[:, start : start + 32_000], atol=0.51 * entry.scale)
    assert {made.entries[k].length for k in range(10)} <= {31_999, 32_000, 32_001}


def test_rows_counts_and_labels_stand_in_the_index(prepared: Prepared, songs: Path) -> None:
    with (songs / "songs.csv").open() as handle:
        for entry, wanted in zip(prepared.entries, csv.DictReader(handle), strict=True):
            assert entry.name == wanted["path"]
            assert entry.row.path == songs / wanted["path"]
            assert (entry.row.plays, entry.row.likes) == (float(wanted["plays"]), float(wanted["likes"]))
            assert entry.row.artist == wanted["artist"]
            assert entry.row.labels == {"genre": wanted["genre"]}
    sides = {entry.row.artist: entry.split for entry in prepared.entries}
    assert all(sides[entry.row.artist] == entry.split for entry in prepared.entries)
    places = [prepared.by_split(name) for name in ("training", "validation", "test")]
    assert sorted(place for side in places for place in side) == list(range(10))
    with pytest.raises(UserError, match="did you mean 'training'"):
        prepared.by_split("trainin")
    balance = json.loads((prepared.folder / "balance.json").read_text())
    assert balance["splits"] == {name: len(prepared.by_split(name)) for name in ("training", "validation", "test")}
    assert {group["class"]: group["rows"] for group in balance["labels"]["genre"]["groups"]} == {"jazz": 5, "rock": 5}


def test_it_can_be_pickled_without_its_maps(prepared: Prepared) -> None:
    wanted = prepared.crop(2, 10, 1000)
    text = pickle.dumps(prepared)
    assert len(text) < 20_000
    np.testing.assert_array_equal(pickle.loads(text).crop(2, 10, 1000), wanted)


def test_a_recoded_copy_is_in_the_same_group_and_split(tmp_path: Path) -> None:
    audio = tune(12.0, 44_100, 2, 5)
    soundfile.write(tmp_path / "one.wav", audio, 44_100)
    soundfile.write(tmp_path / "copy.ogg", 0.5 * audio, 44_100)
    soundfile.write(tmp_path / "other.wav", tune(12.0, 44_100, 2, 6), 44_100)
    write_manifest(tmp_path, ["one.wav", "other.wav", "copy.ogg"])
    one, other, copy = make(tmp_path, tmp_path / "out").entries
    assert one.group == copy.group != other.group
    assert one.split == copy.split


def test_unusable_rows_are_named_by_kind(tmp_path: Path) -> None:
    good = tune(1.5, 16_000, 1, 0)
    bad = good.copy()
    bad[9000] = np.nan
    (tmp_path / "text.wav").write_text("not audio")
    flac = tmp_path / "cut.flac"
    soundfile.write(flac, tune(4.0, 16_000, 1, 9), 16_000)
    flac.write_bytes(flac.read_bytes()[:2000])
    files = {"nan.wav": bad, "silent.wav": good * 1e-5, "short.wav": good[:8000], "a.wav": good, "b.wav": good[::-1]}
    for name, audio in files.items():
        soundfile.write(tmp_path / name, audio, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "slow.wav", good, 4_000)
    names = ["text.wav", "cut.flac", *files, "slow.wav", "gone.wav"]
    write_manifest(tmp_path, names, columns="b.wav,3,9,x,rock\n")
    made = make(tmp_path, tmp_path / "out")
    assert [entry.name for entry in made.entries] == ["a.wav", "b.wav"]
    with (made.folder / "skipped.csv").open() as handle:
        kinds = [(row["path"], row["kind"], row["line"]) for row in csv.DictReader(handle)]
    assert kinds == [
        ("text.wav", "undecodable", "2"),
        ("cut.flac", "undecodable", "3"),
        ("nan.wav", "undecodable", "4"),
        ("silent.wav", "silent", "5"),
        ("short.wav", "short", "6"),
        ("slow.wav", "undecodable", "9"),
        ("gone.wav", "missing", "10"),
        ("b.wav", "likes_above_plays", "11"),
    ]
    assert json.loads((made.folder / "result.json").read_text())["skipped"]["undecodable"] == 4


def test_a_source_without_one_usable_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.ones((100, 1)), 16_000)
    write_manifest(tmp_path, ["short.wav"])
    with pytest.raises(UserError, match="no usable recording: 1 short"):
        make(tmp_path, tmp_path / "out")
    assert "short" in (tmp_path / "out" / "skipped.csv").read_text()


def test_two_processes_write_the_same_bytes(songs: Path, prepared: Prepared, tmp_path: Path) -> None:
    assert contents(make(songs, tmp_path / "out", workers=2).folder) == contents(prepared.folder)


def killed_at(write: int, songs: Path, out: Path) -> bool:
    """Prepare in a child that kills itself (SIGKILL) right before its n-th file is put in place; False if it ended."""
    child = os.fork()
    if child == 0:
        replace, count = os.replace, 0

        def replace_or_die(source: Any, target: Any) -> None:
            nonlocal count
            count += 1
            if count == write:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        try:
            os.replace = replace_or_die  # type: ignore[assignment]
            make(songs, out)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_at_any_write_it_ends_with_the_same_bytes(songs: Path, prepared: Prepared, tmp_path: Path) -> None:
    wanted = contents(prepared.folder)
    kills = 0
    for write in (*range(1, 12), *range(12, 60, 5)):
        out = tmp_path / str(write)
        kills += killed_at(write, songs, out)
        if kills and write % 4 == 0:
            killed_at(write // 2, songs, out)  # and once more while it takes up again
        make(songs, out)
        assert contents(out) == wanted, write
    assert kills >= 15


def test_a_killed_command_leaves_no_process_and_goes_on(songs: Path, prepared: Prepared, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["prepare", f"source.path={songs / 'songs.csv'}", f"out={out}", "workers=2"]
    process = subprocess.Popen([sys.executable, "-m", "hitchain.cli", *words], stdout=subprocess.PIPE, text=True)
    while not (out / "prepared.json").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    # The workers hold the other end of this pipe: it ends when the last of them has left.
    assert "prepared" not in process.communicate(timeout=30)[0]
    assert main(words) == 0
    assert contents(out) == contents(prepared.folder)
    assert (out / "config.yaml").is_file()


def test_added_rows_alone_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", tune(1.5, 16_000, 1, number), 16_000)
    decoded: list[str] = []
    monkeypatch.setattr(
        decode, "_blocks", lambda path, _, old=decode._blocks: decoded.append(path.name) or old(path, _)
    )
    write_manifest(tmp_path, ["0.wav", "1.wav", "2.wav"])
    first = make(tmp_path, tmp_path / "out")
    assert decoded == ["0.wav", "1.wav", "2.wav"]
    shards = {name: data for name, data in contents(first.folder).items() if name.startswith("shards/")}
    write_manifest(tmp_path, ["4.wav", "0.wav", "3.wav", "2.wav"])
    second = make(tmp_path, tmp_path / "out")
    assert decoded[3:] == ["4.wav", "3.wav"]
    assert [entry.name for entry in second.entries] == ["4.wav", "0.wav", "3.wav", "2.wav"]
    assert shards.items() <= contents(second.folder).items()
    for index, entry in enumerate(second.entries):
        whole = reference(tmp_path / entry.name)
        np.testing.assert_allclose(second.crop(index, 0, entry.length), whole, atol=0.51 * entry.scale)
    soundfile.write(tmp_path / "0.wav", tune(1.7, 16_000, 1, 77), 16_000)  # another recording under the old name
    third = make(tmp_path, tmp_path / "out")
    assert decoded[5:] == ["0.wav"]
    assert third.entries[1].length == pytest.approx(1.7 * 32_000, abs=1)


def test_a_damaged_shard_is_named_and_mended(songs: Path, prepared: Prepared, tmp_path: Path) -> None:
    out = make(songs, tmp_path / "out").folder
    shard = out / "shards" / "00002.npy"
    data = bytearray(shard.read_bytes())
    data[500] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=r"1 damaged: 00002.npy \(its checksum differs\).*verify=true"):
        Prepared(out).verify()
    said: list[str] = []
    source = {"kind": "manifest", "path": str(songs / "songs.csv")}
    prepare(source, out, PrepareSettings(workers=1, verify=True), said.append).verify()
    assert any("1 damaged: 00002, to be made again" in line for line in said)
    assert contents(out) == contents(prepared.folder)


def test_a_truncated_shard_is_named_where_it_is_read_and_made_again(songs: Path, tmp_path: Path) -> None:
    made = make(songs, tmp_path / "out")
    wanted = contents(made.folder)
    entry = made.entries[4]
    shard = made.folder / "shards" / f"{entry.shard:05d}.npy"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{shard.name} is damaged: \d+ bytes, not \d+"):
        Prepared(made.folder).crop(4, 0, 10)
    make(songs, made.folder)
    assert contents(made.folder) == wanted


@pytest.mark.parametrize("header", [b"\x93NUMPY\x07", b"garbage"])
def test_a_shard_that_is_no_array_is_named(songs: Path, tmp_path: Path, header: bytes) -> None:
    made = make(songs, tmp_path / "out")
    shard = made.folder / "shards" / f"{made.entries[0].shard:05d}.npy"
    shard.write_bytes(header + shard.read_bytes()[len(header) :])
    with pytest.raises(UserError, match=f"{shard.name} is damaged"):
        Prepared(made.folder).crop(0, 0, 10)


def edited(folder: Path, name: str, edit: Callable[[str], str]) -> None:
    path = folder / name
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_damaged_indices_are_named(songs: Path, tmp_path: Path) -> None:
    whole = make(songs, tmp_path / "out").folder
    cases: list[tuple[str, Callable[[str], str], str]] = [
        ("index.jsonl", lambda text: text[:-40], "has 9 whole lines, not 10"),
        ("index.jsonl", lambda text: text.replace('"length": ', '"length": "x', 1), "line 1 is damaged"),
        ("index.jsonl", lambda text: text.replace('"plays": 1000.0', '"plays": 9.0'), "is not the index that"),
        ("prepared.json", lambda text: text.replace('"version": 1', '"version": 2'), "version 2; this hitchain reads"),
        ("prepared.json", lambda text: text[:50], "cannot be read"),
        ("prepared.json", lambda text: text.replace("true", "false"), "not prepared to the end"),
        ("prepared.json", lambda text: text.replace('"audio"', '"vinyl"'), "it can be one of: audio, mel"),
        ("prepared.json", lambda text: text.replace("hitchain prepared", "other"), "not the head of a prepared set"),
    ]
    for name, edit, message in cases:
        before = (whole / name).read_text(encoding="utf-8")
        edited(whole, name, edit)
        with pytest.raises(UserError, match=message):
            Prepared(whole)
        (whole / name).write_text(before, encoding="utf-8")
    edited(whole, "index.jsonl", lambda text: text[:-40])
    assert len(make(songs, whole)) == 10  # the index is written again
    with pytest.raises(UserError, match="is not a prepared set"):
        Prepared(tmp_path)


def test_a_folder_of_something_else_is_left_alone(songs: Path, prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"holds something else \(thesis.txt\)"):
        make(songs, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="is a file; give a folder"):
        make(songs, tmp_path / "thesis.txt")
    with pytest.raises(UserError, match="cannot write"):
        make(songs, tmp_path / "thesis.txt" / "below")
    with pytest.raises(UserError, match="was prepared with kind=audio, not mel"):
        make(songs, prepared.folder, kind="mel")
    with pytest.raises(UserError, match=r"was prepared with seconds_per_song=null, not 2\.0"):
        make(songs, prepared.folder, seconds_per_song=2.0)


def test_a_disk_that_is_too_small_is_told_before_anything_is_decoded(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = preparation.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: usage._replace(free=51_000_000))
    with pytest.raises(UserError, match=r"needs about 0\.1 GB, and .* has 0\.1 GB free; .*kind=mel"):
        make(songs, tmp_path / "out")
    assert not (tmp_path / "out" / "shards").exists()
    make(songs, tmp_path / "mel", kind="mel", seconds_per_song=1.0)


def test_a_process_that_dies_is_told_with_what_it_decoded() -> None:
    files = (File("a", "a.wav", 1, 1), File("b", "b.wav", 1, 1))
    worker = local._Worker()
    assert worker.receive() is None  # ready
    worker.process.kill()
    worker.process.join()
    worker.job, worker.done = Job("out", 3, files, None, None), 1
    with pytest.raises(UserError, match=r"making shard 3 died while it decoded b\.wav"):
        worker.receive()


def test_an_error_of_a_process_reaches_the_user(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    jobs = [Job(str(tmp_path / "out"), number, (), None, None) for number in range(2)]
    with pytest.raises(UserError, match="cannot write"):
        local.run(jobs, 2, lambda done: None)


def test_workers_for_audio_start_without_pytorch() -> None:
    code = (
        "import sys; import hitchain.rater.shards.local, hitchain.rater.shards.shard as s; s._encoder("
        "s.Job('', 0, (), None, None)); print([m for m in ('torch', 'hydra', 'librosa', 'numba') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_config_holds_the_defaults() -> None:
    from hitchain.chain import config

    composed = config.compose("prepare")
    assert composed.pop("out") is None
    assert composed.pop("source")["kind"] == "manifest"
    assert PrepareSettings.from_mapping(composed) == PrepareSettings()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("kind=vinyl", "it can be one of: audio, mel"),
        ("backend=loca", "did you mean 'local'"),
        ("workers=0", "workers=0 should be a whole number from 1 to 1024, or null"),
        ("seconds_per_song=0.2", "should be a number from 1"),
        ("verfy=true", "did you mean 'verify'"),
        ("validation_fraction=0.9", "leave less than 0.05 for training"),
        ("shard_mb=-1", "shard_mb=-1"),
    ],
)
def test_wrong_settings(
    word: str, message: str, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"source.path={songs / 'songs.csv'}", f"out={tmp_path / 'out'}", word]
    assert main(["prepare", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install hitchain\[ray\]"):
        make(songs, tmp_path / "out", backend="ray")


def test_a_small_shard_size_makes_many_shards(songs: Path, prepared: Prepared, tmp_path: Path) -> None:
    made = make(songs, tmp_path / "out", shard_mb=0.01)
    assert len(made.head["shards"]) == 10
    for index, entry in enumerate(made.entries):
        np.testing.assert_array_equal(made.crop(index, 0, entry.length), prepared.crop(index, 0, entry.length))


def test_what_is_done_is_counted(songs: Path, tmp_path: Path) -> None:
    counter = preparation._Counter(2)
    with counter:
        counter(Done(30.0, 1_000_000, used=True))
        counter(Done(0.0, 500_000, used=False))
    counter.seconds = 2.0
    assert counter.rates() == {
        "recordings_per_second": 1.0,
        "times_real_time": 15.0,
        "megabytes_per_second": 0.75,
    }
