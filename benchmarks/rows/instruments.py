"""Instruments: subtractive beside torchsynth's Voice, additive against its own limit."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import limits
from benchmarks.harness import SAMPLE_RATE, Contender, Line, Report, Timing, against, compare, published
from hitchain import blocks
from hitchain.blocks import Notes

VOICES = 16
BANK_VOICES = 8
HARMONICS = 64


def subtractive(repeats: int, seconds: float) -> Report:
    """Two oscillators, sub, noise, filter, two envelopes, vibrato: 16 sounds of 4 s, each of one note."""
    block = blocks.create("instruments/subtractive")
    notes = Notes.of([0.0], [0.75 * seconds], [57.0], length=seconds).expand(VOICES)
    length = VOICES * seconds
    forward, both = passes(block, notes)
    field = [Contender("forward", forward, length), Contender("both", both, length)]
    voice, why = _torchsynth(seconds)
    if voice is not None:
        field += [Contender("their forward", voice[0], length), Contender("their both", voice[1], length)]
    times = compare(field, repeats)
    ours = times["both"]
    samples = round(seconds * SAMPLE_RATE)
    steps = 3.0 * limits.recursion(VOICES, samples, repeats)
    bytes_moved = 6.0 * limits.memory_pass(torch.zeros(VOICES, 1, samples), repeats)
    bars = [("forward", 1.5, 437.0), ("both", 2.0, 180.0)]
    return Report(
        title=f"subtractive, {VOICES} x {seconds:g} s",
        ours=f"forward {times['forward'].show()}, forward + backward {ours.show()}",
        lines=[_bar(times, what, at_least, figure, why) for what, at_least, figure in bars],
        limit="the filter's recursion (forward, again, and backward) and six passes over the audio; tables left out",
        near=limits.nearness(ours.seconds, steps + bytes_moved),
        notes=[
            "torchsynth 1.0 imports `pytorch_lightning.core.lightning`, a module that has since been moved; it ran "
            "with the new place under the old name. Its constructor refuses gradients as untested; they were switched "
            "on after it. It has no filter."
        ],
    )


def _bar(times: dict[str, Timing], what: str, at_least: float, figure: float, why: str) -> Line:
    named = "forward" if what == "forward" else "forward + backward"
    bar = f"{at_least:g} x torchsynth, {named}"
    if f"their {what}" in times:
        return against(times[what], times[f"their {what}"], f"torchsynth Voice, {named}", bar, at_least)
    return published(
        times[what], figure, f"torchsynth Voice, {named} ({why}; measured earlier on a 2-core machine)", bar, at_least
    )


def passes(block: blocks.Block, notes: Notes) -> tuple[Callable[[], None], Callable[[], None]]:
    """A pass without gradients, and one with gradients to every parameter and to the notes' velocities."""
    settings = {name: value.requires_grad_() for name, value in block.defaults(notes.batch).items()}
    velocity = notes.velocity.clone().requires_grad_()
    leaves = [velocity, *settings.values()]
    cotangent: list[Tensor] = []

    def forward() -> None:
        with torch.no_grad():
            block(notes, settings)

    def both() -> None:
        output = block(notes.with_(velocity=velocity), settings)
        if not cotangent:
            cotangent.append(torch.randn(output.shape) / output.shape[-1])
        torch.autograd.grad(output, leaves, cotangent[0], allow_unused=True)

    return forward, both


def _torchsynth(seconds: float) -> tuple[tuple[Callable[[], None], Callable[[], None]] | None, str]:
    """torchsynth's Voice, forward and forward + backward; or None and why it cannot run here."""
    try:
        moved = types.ModuleType("pytorch_lightning.core.lightning")
        lightning = importlib.import_module("pytorch_lightning")
        moved.__dict__["LightningModule"] = lightning.LightningModule
        sys.modules.setdefault("pytorch_lightning.core.lightning", moved)
        return _voice(seconds), ""
    except Exception as error:  # other people's packages fail in their own ways
        return None, f"{type(error).__name__}: {error}".splitlines()[0]


def _voice(seconds: float) -> tuple[Callable[[], None], Callable[[], None]]:
    synth: Any = importlib.import_module("torchsynth.synth")
    config: Any = importlib.import_module("torchsynth.config")

    def made(no_grad: bool) -> Any:
        settings = config.SynthConfig(
            batch_size=VOICES, sample_rate=SAMPLE_RATE, buffer_size_seconds=seconds, reproducible=False
        )
        settings.no_grad = no_grad  # its constructor refuses gradients, which it calls untested; they flow all the same
        voice = synth.Voice(settings)
        voice.randomize(seed=0)
        return voice

    still, learning = made(no_grad=True), made(no_grad=False)
    weights = [weight for weight in learning.parameters() if weight.requires_grad]
    cotangent: list[Tensor] = []

    def forward() -> None:
        still()

    def both() -> None:
        output = learning.output().as_subclass(torch.Tensor)
        if not cotangent:
            cotangent.append(torch.randn(output.shape) / output.shape[-1])
        torch.autograd.grad(output, weights, cotangent[0], allow_unused=True)

    forward()
    both()
    return forward, both


def additive(repeats: int, seconds: float) -> Report:
    """64 partials and noise, eight voices at once."""
    block = blocks.create("instruments/additive", harmonics=HARMONICS)
    pitches = [33.0, 38.0, 40.0, 45.0, 49.0, 52.0, 57.0, 61.0]
    notes = Notes.of([0.0] * BANK_VOICES, [seconds] * BANK_VOICES, pitches, length=seconds)
    _, both = passes(block, notes)
    ours = compare([Contender("ours", both, seconds)], repeats)["ours"]
    bare = 2.0 * limits.sine_bank(BANK_VOICES, HARMONICS, round(seconds * SAMPLE_RATE), repeats)
    return Report(
        title=f"additive, {HARMONICS} harmonics + noise, {BANK_VOICES} voices, {seconds:g} s",
        ours=f"{ours.show()}, {BANK_VOICES * ours.real_time:.0f} voice-seconds a second",
        lines=[Line("40 x real time with 8 voices", "-", ours.real_time / 40.0, 1.0)],
        limit="the partials' sines, by rotation, forward and backward; vibrato, which rules rotation out, left out",
        near=limits.nearness(ours.seconds, bare),
        notes=["Pitches stand low enough (A1 to C#4) that most of the 64 partials lie below the Nyquist frequency."],
    )
