"""Time and memory for each second of song, from 4 s to 4 minutes, of a windowed climb step and of a final render."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import mido
import torch

from benchmarks.harness import Contender, Line, Report, compare, milliseconds, once, peak_memory, reset_peak_memory
from benchmarks.rows.band import climb_step
from hitchain.chain import Song

WINDOW = 4.0
BATCH = 1
PATTERN = (0, 7, 12, 4, 9, 5, 2, 11)


def flat(repeats: int, seconds: float) -> Report:
    """The song: a melody, a bass and drums, eighths throughout."""
    lengths = [WINDOW, seconds / 4.0, seconds]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "long.mid"
        _write_song(file, seconds)
        songs = {length: _song(file, length) for length in lengths}
    steps = {length: climb_step(song, BATCH, WINDOW) for length, song in songs.items()}
    times = compare([Contender(str(length), run, BATCH * WINDOW) for length, run in steps.items()], min(repeats, 3))
    step_time = {length: times[str(length)].seconds for length in lengths}
    step_memory = {length: _memory(run) for length, run in steps.items()}
    _rendered(songs[WINDOW])
    drawn = {length: _rendered(song) for length, song in songs.items()}
    second = {length: drawn[length][0] / length for length in lengths}
    memory = {length: drawn[length][1] for length in lengths}
    shortest, longest = lengths[0], lengths[-1]
    return Report(
        title=f"flat in song length, {shortest:g} s to {longest:g} s",
        ours=" ".join(
            [
                f"climb step {milliseconds(step_time[shortest])} to {milliseconds(step_time[longest])},",
                f"render {milliseconds(second[shortest])} to {milliseconds(second[longest])} a second of song",
            ]
        ),
        lines=[
            Line("climb step: time flat", "-", min(step_time.values()) / step_time[longest], 0.8),
            Line("climb step: memory flat", "-", step_memory[shortest] / step_memory[longest], 0.8),
            Line("render: time per second flat", "-", min(second.values()) / second[longest], 0.8),
            Line("render: memory per second flat", "-", memory[shortest] / shortest / (memory[longest] / longest), 0.8),
        ],
        limit="flat: 1; the ratio is the least over the longest, met from 0.8 (timing scatters)",
        near="; ".join(
            f"{length:g} s: step {milliseconds(step_time[length])}, +{step_memory[length]:.2f} GiB, "
            f"render {milliseconds(second[length])}/s, +{memory[length]:.2f} GiB"
            for length in lengths
        ),
        notes=[
            f"Climb step: window {WINDOW:g} s, batch {BATCH}. Memory is what a pass adds at most to what was held "
            "before it. The master of a whole song is one tensor, so memory that is flat per second of song still "
            f"grows with it: {1024 * memory[longest] / longest:.1f} MiB a second at the longest, "
            f"{1024 * memory[shortest] / shortest:.1f} at the shortest."
        ],
    )


def _memory(run: Callable[[], None]) -> float:
    """[GiB] that a pass adds to what the process holds."""
    if not reset_peak_memory():
        return float("nan")
    before = peak_memory()
    run()
    return max(peak_memory() - before, 1e-3)


def _rendered(song: Song) -> tuple[float, float]:
    """A master without gradients, once: seconds it took, and the GiB it added."""
    taken = 0.0

    def run() -> None:
        nonlocal taken
        with torch.no_grad():
            taken = once(lambda: song(song.start))

    memory = _memory(run)
    return taken, memory


def _song(file: Path, length: float) -> Song:
    return Song.load("midi", overrides=[f"song.file={file}", f"song.length={length}"])


def _write_song(file: Path, seconds: float) -> None:
    """Eighths at 120 beats per minute for that long, as a standard MIDI file of three parts."""
    midi = mido.MidiFile(ticks_per_beat=480)
    for channel, program, base in ((0, 0, 60), (1, 33, 33), (9, 0, 36)):
        part = mido.MidiTrack()
        midi.tracks.append(part)
        part.append(mido.Message("program_change", channel=channel, program=program, time=0))
        for index in range(int(seconds * 4)):
            pitch = (36, 42, 38, 42)[index % 4] if channel == 9 else base + PATTERN[index % len(PATTERN)]
            part.append(mido.Message("note_on", channel=channel, note=pitch, velocity=90, time=0))
            part.append(mido.Message("note_off", channel=channel, note=pitch, velocity=0, time=240))
    midi.save(str(file))
