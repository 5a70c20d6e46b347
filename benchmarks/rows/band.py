"""The whole song in one climb step, and the rating alone."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks import limits
from benchmarks.harness import (
    SAMPLE_RATE,
    Contender,
    Line,
    Report,
    backward,
    compare,
    music,
    peak_memory,
    reset_peak_memory,
)
from hitchain import rater
from hitchain.blocks.dsp import fft
from hitchain.chain import Knobs, Song, Window

BATCH = 4


def climb_step(song: Song, batch: int, window: float) -> Callable[[], None]:
    """One step of an ascent: windows in turn, all stages, rating, backward, Adam."""
    judge = rater.load("appeal")
    knobs = Knobs(song, song.learn)
    start = knobs.vary(knobs.unbounded(song.start), batch, 0.06, torch.Generator().manual_seed(0))
    z = torch.nn.Parameter(start)
    adam = torch.optim.Adam([z], lr=0.01, maximize=True)
    places = [share * (song.length - window) for share in (0.5, 0.2, 0.8)]
    step = 0

    def run() -> None:
        nonlocal step
        audio = song(knobs.apply(z, song.start), Window(places[step % len(places)], window))
        rating = judge(audio, song.sample_rate)
        adam.zero_grad()
        rating.sum().backward()
        adam.step()
        step += 1

    return run


def band(repeats: int, seconds: float) -> Report:
    """The demo: four tracks, all stages, mastering, rating, backward, one optimise step."""
    song = Song.load("demo")
    step = climb_step(song, BATCH, seconds)
    step()
    measured = reset_peak_memory()
    times = compare([Contender("ours", step, BATCH * seconds)], repeats)
    ours, memory = times["ours"], peak_memory() if measured else float("nan")
    samples = round((seconds + song.pre_roll) * SAMPLE_RATE)
    audio = torch.zeros(BATCH, 2, samples)
    pairs = (len(song.tracks) + 2) * limits.fft_pair(audio, fft.fast_length(samples * 2), repeats)
    steps = 2.0 * 6 * limits.recursion(BATCH, samples, repeats)
    return Report(
        title=f"demo band, one climb step, batch {BATCH}, window {seconds:g} s",
        ours=f"{ours.show()}, {memory:.2f} GiB at most",
        lines=[
            Line("5 x real time, the candidates' seconds added up", "-", ours.real_time / 5.0, 1.0),
            Line("5 x real time, the window's seconds counted once", "-", ours.real_time / BATCH / 5.0, 1.0),
            Line("4 GB at most (ratio: 4 GB / ours)", "-", 4.0 / (memory * 1.073741824), 1.0),
        ],
        limit="an FFT pair for each track and two for mastering, six recursions; oscillators and rating left out",
        near=limits.nearness(ours.seconds, pairs + steps),
        notes=["A step also renders the second of pre-roll before its window, which is not counted as sound."],
    )


def rating(repeats: int, seconds: float) -> Report:
    """Log-mel front end and networks, with gradients to the audio."""
    judge = rater.load("appeal")
    single = rater.load("appeal/0")
    audio = music(BATCH, 2, seconds)
    length = BATCH * seconds

    times = compare(
        [
            Contender("all", backward(lambda signal, _: judge(signal, SAMPLE_RATE), audio, {}), length),
            Contender("one", backward(lambda signal, _: single(signal, SAMPLE_RATE), audio, {}), length),
        ],
        repeats,
    )
    networks, settings = len(judge.networks), judge.front_end.settings
    n_fft = fft.fast_length(round(settings.window_seconds * SAMPLE_RATE))
    bare = limits.short_transforms(2 * BATCH * round(seconds / settings.hop_seconds), n_fft, repeats)
    return Report(
        title=f"log-mel + rating network, {BATCH} x {seconds:g} s stereo",
        ours=f"one network {times['one'].show()}, all {networks} of appeal {times['all'].show()}",
        lines=[
            Line("100 x real time, one network", "-", times["one"].real_time / 100.0, 1.0),
            Line(f"no bar: all {networks} networks", "-", times["all"].real_time / 100.0),
        ],
        limit="the bare FFTs of the frames, forward and backward; filters and convolutions left out",
        near=limits.nearness(times["one"].seconds, bare),
    )
