"""Rows of processors: the mixing line, five linear blocks fused, and a final render beside pedalboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks import limits
from benchmarks.harness import SAMPLE_RATE, Contender, Report, against, backward, compare, music, peer, published
from benchmarks.harness import Line as Bar
from benchmarks.rows.effects import BATCH, COMPRESSION, EQ, settings_of
from hitchain import blocks
from hitchain.blocks.dsp import fft
from hitchain.chain.chain import run
from hitchain.chain.patch import Patch

MIXING = ("effects/parametric_eq", "effects/compressor", "effects/reverb", "mastering/limiter")
LINEAR = ("effects/parametric_eq", "effects/delay", "cabs/speaker", "mics/microphone", "mixer/fader")
PLAIN = (*MIXING[:3], "mastering/peak_limiter")
OPTIONS = {"mastering/peak_limiter": {"oversampling": 1}}  # sample peaks, as pedalboard's
CHANGED = {
    "effects/parametric_eq": EQ,
    "effects/compressor": COMPRESSION,
    "effects/reverb": {"decay_low": 2.0, "decay_mid": 2.0, "decay_high": 2.0},
}


class Rack:
    """A row of blocks with settings, run as the chain runs them, or one by one."""

    def __init__(self, names: Sequence[str], batch: int) -> None:
        self.members = [(name, blocks.create(name, **OPTIONS.get(name, {}))) for name in names]
        self.settings = {
            f"{name}:{key}": value
            for name, block in self.members
            for key, value in settings_of(block, CHANGED.get(name, {}), batch).items()
        }

    def patch(self, settings: dict[str, Tensor]) -> Patch:
        """Flat settings as a patch."""
        nested: dict[str, dict[str, Tensor]] = {name: {} for name, _ in self.members}
        for key, value in settings.items():
            name, _, parameter = key.partition(":")
            nested[name][parameter] = value
        return Patch(nested)

    def fused(self, audio: Tensor, settings: dict[str, Tensor]) -> Tensor:
        """Linear neighbours as one filter."""
        return run(self.members, audio, self.patch(settings))

    def one_by_one(self, audio: Tensor, settings: dict[str, Tensor]) -> Tensor:
        """Every block on its own."""
        patch = self.patch(settings)
        for member in self.members:
            audio = run([member], audio, patch)
        return audio

    def tail(self) -> int:
        """[samples] by which all blocks together ring on."""
        patch = self.patch(self.settings)
        return round(sum(block.tail(patch.of(name)) for name, block in self.members) * SAMPLE_RATE)


def line(repeats: int, seconds: float) -> Report:
    """EQ, compressor, reverb and limiter, stereo and, as DiffVox was measured, 12 s of mono."""
    rack, alone = Rack(MIXING, BATCH), Rack(MIXING, 1)
    audio = music(BATCH, 2, 5.0 if seconds > 5.0 else seconds)
    length = BATCH * audio.shape[-1] / SAMPLE_RATE
    mono = music(1, 1, seconds)
    times = compare(
        [
            Contender("ours", backward(rack.fused, audio, rack.settings), length),
            Contender("mono", backward(alone.fused, mono, alone.settings), seconds),
        ],
        repeats,
    )
    ours = times["ours"]
    n_fft = fft.fast_length(audio.shape[-1] + Rack(MIXING[2:3], BATCH).tail())
    short = fft.fast_length(audio.shape[-1] + Rack(MIXING[:1], BATCH).tail())
    pairs = limits.fft_pair(audio, n_fft, repeats) + limits.fft_pair(audio, short, repeats)
    steps = 6.0 * limits.recursion(BATCH, audio.shape[-1], repeats)
    passes = 12.0 * limits.memory_pass(audio, repeats)
    figure = (
        "DiffVox's EQ, compressor and feedback delay network (measured earlier on a 2-core machine, 12 s of mono; "
        "ours on the same: "
    )
    return Report(
        title=f"EQ + compressor + reverb + limiter, {BATCH} x {length / BATCH:g} s stereo",
        ours=ours.show(),
        lines=[
            Bar("60 x real time", "-", ours.real_time / 60.0, 1.0),
            published(times["mono"], 8.4, f"{figure}{times['mono'].show()})", "4 x DiffVox", 4.0),
        ],
        limit="two FFT pairs, three recursions (compressor, and the limiter's two stages) and a dozen passes of memory",
        near=limits.nearness(ours.seconds, pairs + steps + passes),
        notes=[
            "The limiter also brings the loudness to its target, which its limit here leaves out. DiffVox is not on "
            "PyPI."
        ],
    )


def fused(repeats: int, seconds: float) -> Report:
    """Five linear blocks of a track as one filter, and each with an FFT pair of its own."""
    rack = Rack(LINEAR, BATCH)
    audio = music(BATCH, 2, seconds)
    length = BATCH * seconds
    times = compare(
        [
            Contender("ours", backward(rack.fused, audio, rack.settings), length),
            Contender("unfused", backward(rack.one_by_one, audio, rack.settings), length),
        ],
        repeats,
    )
    bare = limits.fft_pair(audio, fft.fast_length(audio.shape[-1] + rack.tail()), repeats)
    names = ", ".join(name.partition("/")[2] for name in LINEAR)
    return Report(
        title=f"five linear blocks fused ({names}), {BATCH} x {seconds:g} s stereo",
        ours=times["ours"].show(),
        lines=[against(times["ours"], times["unfused"], "the same, one by one", "3 x unfused", 3.0)],
        limit="one FFT pair of the audio, forward and backward",
        near=limits.nearness(times["ours"].seconds, bare),
        notes=[
            "What fusing saves is FFT pairs. Alone, each block is evaluated on a grid as short as it rings and the "
            "equaliser runs in time without one, so there is less to save than there was; fused, the delay's ringing "
            "of 4 s sets the length of the one transform, whose four passes are a third of the time."
        ],
    )


def render(repeats: int, seconds: float) -> Report:
    """Without gradients, batch 1, stereo, beside pedalboard's C++."""
    rack = Rack(PLAIN, 1)
    audio = music(1, 2, seconds)

    def ours() -> None:
        with torch.no_grad():
            rack.fused(audio, rack.settings)

    field = [Contender("ours", ours, seconds)]
    pedalboard, why = peer("pedalboard")
    if pedalboard is not None:
        field.append(Contender("pedalboard", _pedalboard(pedalboard, audio), seconds))
    times = compare(field, repeats)
    rests = limits.memory_pass(audio, repeats) * 8.0
    rests += 3.0 * limits.recursion(1, audio.shape[-1], repeats)
    n_fft = fft.fast_length(audio.shape[-1] + Rack(MIXING[2:3], 1).tail())
    rests += limits.fft_pair(audio, n_fft, repeats)
    if "pedalboard" in times:
        bar = against(times["ours"], times["pedalboard"], "pedalboard (one thread)", "1 x pedalboard", 1.0)
    else:
        bar = published(
            times["ours"], 234.0, f"pedalboard ({why}; measured earlier on a 2-core machine)", "1 x pedalboard", 1.0
        )
    return Report(
        title=f"final render, no gradient: EQ + compressor + reverb + limiter, {seconds:g} s stereo",
        ours=times["ours"].show(),
        lines=[bar],
        limit="one FFT pair, three recursions on one row, eight passes of memory",
        near=limits.nearness(times["ours"].seconds, rests),
        notes=[
            "Ours has six bands, pedalboard three; both limiters look at sample peaks. pedalboard runs on one thread, "
            "ours on two where a stage has rows or bins to share."
        ],
    )


def _pedalboard(pedalboard: Any, audio: Tensor) -> Any:
    board = pedalboard.Pedalboard(
        [
            pedalboard.LowShelfFilter(100.0, 3.0),
            pedalboard.PeakFilter(1500.0, -4.0),
            pedalboard.HighShelfFilter(8000.0, -2.0),
            pedalboard.Compressor(threshold_db=-24.0, ratio=4.0, attack_ms=5.0, release_ms=100.0),
            pedalboard.Reverb(room_size=0.6),
            pedalboard.Limiter(threshold_db=-1.0, release_ms=100.0),
        ]
    )
    samples = audio[0].numpy()
    return lambda: board(samples, SAMPLE_RATE)
