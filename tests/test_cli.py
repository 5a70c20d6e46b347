"""The command line as a person meets it: run folders, mistakes, bad input, interruption, resumption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hitchain.chain.chain import STAGES
from hitchain.cli import COMMANDS, main

SHORT = ["song.length=2.0"]
QUICK = ["optimizer.steps=2", "optimizer.batch=2", "optimizer.window=1.0", "optimizer.evaluate_every=2"]


def run(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """The command as its own process."""
    command = [sys.executable, "-m", "hitchain.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def test_help_is_instant_and_names_every_command() -> None:
    began = time.monotonic()
    result = run("--help")
    assert result.returncode == 0
    assert time.monotonic() - began < 10  # measured 0.2 s; this only catches a page that hangs
    for command in COMMANDS:
        assert command in result.stdout


def test_help_imports_nothing_heavy() -> None:
    heavy = "[name for name in ('torch', 'hydra', 'numba') if name in sys.modules]"
    code = f"import sys; from hitchain.cli import main; main(['--help']); print({heavy})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("render") / "run"
    assert run("render", f"out={folder}", *SHORT).returncode == 0
    return folder


def test_render_leaves_a_whole_run_folder(rendered: Path) -> None:
    for name in ("config.yaml", "patch.json", "notes.mid", "mix.wav", "master.wav", "result.json", "report.html"):
        assert (rendered / name).stat().st_size > 0, name
    for track in ("lead", "bass", "chords", "drums"):
        stems = sorted(path.name for path in (rendered / "stems" / track).iterdir())
        assert stems == [f"{index}-{stage}.wav" for index, stage in enumerate(STAGES) if index > 0]
    result = json.loads((rendered / "result.json").read_text())
    assert result["command"] == "render"
    assert {"seed", "seconds", "loudness", "true_peak"} <= set(result)
    assert not list(rendered.rglob(".*")), "a temporary file was left behind"


def test_rendering_twice_gives_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    assert run("render", f"out={tmp_path / 'again'}", *SHORT).returncode == 0
    waves = sorted(path.relative_to(rendered) for path in rendered.rglob("*.wav"))
    assert len(waves) == 4 * 6 + 2
    for name in (*waves, Path("patch.json"), Path("notes.mid")):
        assert (rendered / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_patch_renders_the_same_master_again(rendered: Path, tmp_path: Path) -> None:
    assert run("render", f"patch={rendered / 'patch.json'}", f"out={tmp_path / 'run'}", *SHORT).returncode == 0
    assert (rendered / "master.wav").read_bytes() == (tmp_path / "run" / "master.wav").read_bytes()


def test_a_run_folder_loads_as_a_song(rendered: Path) -> None:
    from hitchain.chain import Song

    song = Song.load(rendered)
    assert list(song.tracks) == ["lead", "bass", "chords", "drums"]
    assert song.length == 2.0


def test_stems_sum_to_the_mix(rendered: Path) -> None:
    mix, _ = soundfile.read(rendered / "mix.wav")
    faders = [soundfile.read(path)[0] for path in (rendered / "stems").glob("*/6-fader.wav")]
    assert len(faders) == 4
    assert np.abs(np.sum(faders, axis=0) - mix).max() < 1e-5


def test_optimize_leaves_the_whole_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["optimize", f"out={folder}", "learn=[mastering.*]", *SHORT, *QUICK]) == 0
    result = json.loads((folder / "result.json").read_text())
    wanted = {"command", "seed", "seconds", "rating_before", "rating_after", "heldout_before", "heldout_after", "steps"}
    assert wanted <= set(result)
    assert result["rating_after"] >= result["rating_before"]
    assert len((folder / "history.jsonl").read_text().splitlines()) == result["steps"] == 2
    for name in ("before.wav", "master.wav", "report.html", "checkpoint.safetensors"):
        assert (folder / name).exists(), name
    told = capsys.readouterr().out
    assert "master.wav" in told
    assert "report.html" in told
    assert f"{result['rating_after']:.3f}" in told
    assert main(["optimize", f"out={folder}", *SHORT, *QUICK]) == 2  # never over an earlier run
    assert main(["optimize", f"resume={folder}"]) == 2  # it has finished
    (folder / "report.html").unlink()  # as if killed while the last file was written
    assert main(["optimize", f"resume={folder}"]) == 0
    assert (folder / "report.html").exists()


def test_a_rater_trained_on_ones_own_songs_can_rate_and_be_climbed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path,plays,likes,artist"]
    for index in range(12):
        soundfile.write(tmp_path / f"{index}.wav", rng.normal(0, 0.1, (44100 * 2, 2)), 44100)
        rows.append(f"{index}.wav,1000,{10 + 40 * index},artist {index % 6}")
    (tmp_path / "songs.csv").write_text("\n".join(rows))
    rater = tmp_path / "rater"
    words = ["rater.epochs=1", "rater.crop_seconds=1.0", "rater.batch_size=4", "seed=3"]
    assert main(["train", f"rater.manifest={tmp_path / 'songs.csv'}", f"out={rater}", *words]) == 0
    assert json.loads((rater / "result.json").read_text())["seed"] == 3
    assert main(["rate", str(tmp_path / "0.wav"), f"rater={rater}"]) == 0
    climb = [f"objective.rater={rater}", "learn=[mastering.*]", f"out={tmp_path / 'run'}"]
    assert main(["optimize", *climb, *SHORT, *QUICK]) == 0


def test_multirun_makes_a_folder_for_each_job(tmp_path: Path) -> None:
    result = run("render", "--multirun", "seed=1,2", "instrument=additive,subtractive", f"out={tmp_path}", *SHORT)
    assert result.returncode == 0, result.stderr
    seeds = [json.loads((tmp_path / str(job) / "result.json").read_text())["seed"] for job in range(4)]
    assert seeds == [1, 1, 2, 2]


@pytest.mark.slow
def test_a_killed_climb_is_resumed_to_the_same_end(tmp_path: Path) -> None:
    words = [
        "learn=[mastering.*,*.fader.*]",
        *SHORT,
        *QUICK[1:3],
        "optimizer.steps=6",
        "optimizer.checkpoint_every=0.0",
    ]
    assert run("optimize", f"out={tmp_path / 'whole'}", *words).returncode == 0
    killed = subprocess.Popen(
        [sys.executable, "-m", "hitchain.cli", "optimize", f"out={tmp_path / 'killed'}", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    history = tmp_path / "killed" / "history.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (history.exists() and len(history.read_text().splitlines()) >= 3):
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "result.json").exists()
    assert run("optimize", f"resume={tmp_path / 'killed'}").returncode == 0
    for name in ("master.wav", "patch.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_with_the_best_so_far(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["learn=[mastering.*]", *SHORT, *QUICK[1:3], "optimizer.steps=1000", "optimizer.patience=1000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hitchain.cli", "optimize", f"out={folder}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (
        (folder / "history.jsonl").exists() and (folder / "history.jsonl").read_text()
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "interrupted" in out
    assert (folder / "master.wav").exists()
    assert json.loads((folder / "result.json").read_text())["stopped"] == "interrupted"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of a command line that must be refused: exit code 2, one line, no traceback."""
    assert main(list(words)) == 2
    message = capsys.readouterr().err
    assert message.startswith("hitchain: ")
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["optimise"], "did you mean 'optimize'"),
        (["render", "instrument@lead=aditive"], "did you mean 'additive'"),
        (["render", "lead.fader.level=100"], "-60 to 12 dB"),
        (["optimize", "learn=[mastring.*]", *SHORT], "did you mean 'mastering"),
        (["optimize", "learn=3", *SHORT], "list of patterns"),
        (["optimize", "optimizer.budget=soon", *SHORT], "10m"),
        (["optimize", "optimizer.batch=0", *SHORT], "optimizer.batch"),
        (["optimize", "objective.rater=apeal", *SHORT], "appeal"),
        (["render", "format=MP3", *SHORT], "PCM_24"),
        (["render", "notes.file=nowhere.mid"], "nowhere.mid"),
        (["render", "patch=nowhere.json", *SHORT], "nowhere.json"),
        (["render", "cab=impulse", "cab.file=nowhere.wav", *SHORT], "nowhere.wav"),
        (["rate"], "no audio file"),
        (["rate", "nowhere.wav"], "nowhere.wav"),
        (["rate", "a.wav", "ratr=appeal"], "did you mean 'rater'"),
        (["report", "nowhere"], "result.json"),
        (["blocks", "effects/compresor"], "did you mean 'effects/compressor'"),
        (["optimize", "resume=nowhere"], "not a run folder"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], part: str) -> None:
    extra = [f"out={tmp_path / 'run'}"] if words[0] in ("render", "optimize") else []
    assert part in refused(capsys, *words, *extra)


def test_a_wrong_command_line_leaves_no_folder(tmp_path: Path) -> None:
    assert main(["render", "lead.fader.level=100", f"out={tmp_path / 'run'}"]) == 2
    assert not (tmp_path / "run").exists()


BAD_AUDIO = {
    "empty.wav": b"",
    "text.wav": b"this is no sound at all",
    "truncated.wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "truncated.flac": b"fLaC\x00\x00\x00\x22",
}


@pytest.mark.parametrize("name", BAD_AUDIO)
def test_bad_audio_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_AUDIO[name])
    assert name in refused(capsys, "rate", str(tmp_path / name))
    words = ["cab=impulse", f"cab.file={tmp_path / name}", f"out={tmp_path / 'run'}", *SHORT]
    assert name in refused(capsys, "render", *words)


def test_nan_in_a_wav_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = np.zeros(44100 * 2, dtype=np.float32)
    data[1234] = np.nan
    soundfile.write(tmp_path / "nan.wav", data, 44100, subtype="FLOAT")
    assert "1234" in refused(capsys, "rate", str(tmp_path / "nan.wav"))


@pytest.mark.parametrize("rate", [8000, 192000])
def test_unusual_sample_rates_are_rated(capsys: pytest.CaptureFixture[str], tmp_path: Path, rate: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2 * rate, 2)).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, rate)
    assert main(["rate", str(tmp_path / "noise.wav")]) == 0
    assert "noise.wav" in capsys.readouterr().out


def test_a_midi_file_without_notes_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0"
    (tmp_path / "none.mid").write_bytes(header + b"MTrk\x00\x00\x00\x04\x00\xff\x2f\x00")
    message = refused(capsys, "render", f"notes.file={tmp_path / 'none.mid'}", f"out={tmp_path / 'run'}")
    assert "none.mid" in message


def test_an_output_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "out=" in refused(capsys, "render", f"out={tmp_path / 'file'}", *SHORT)
    assert "cannot write" in refused(capsys, "render", f"out={tmp_path / 'file' / 'run'}", *SHORT)
    assert "/proc/hitchain" in refused(capsys, "render", "out=/proc/hitchain", *SHORT)


def test_a_full_disk_is_told_before_anything_is_rendered(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = os.statvfs(tmp_path)
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000, "total": usage.f_blocks, "used": 0})
    )
    assert "not enough room" in refused(capsys, "render", f"out={tmp_path / 'run'}", *SHORT)


def test_a_folder_that_is_not_a_run_cannot_be_resumed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rendered: Path
) -> None:
    assert "not a run folder" in refused(capsys, "optimize", f"resume={tmp_path}")
    assert "render" in refused(capsys, "optimize", f"resume={rendered}")


def test_meter_prints_and_writes_readings(rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "readings.json"
    assert main(["meter", str(rendered / "master.wav"), f"json={target}"]) == 0
    assert "integrated loudness" in capsys.readouterr().out
    (reading,) = json.loads(target.read_text()).values()
    assert reading["integrated"] == pytest.approx(-14.0, abs=0.1)
    assert main(["meter"]) == 2
    assert main(["meter", "jsn=x.json"]) == 2
    assert "did you mean 'json'" in capsys.readouterr().err
