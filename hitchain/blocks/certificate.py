"""The gradient certificate: every parameter of every registered block, against finite differences.

    python -m hitchain.blocks.certificate                                  print the table
    python -m hitchain.blocks.certificate --write docs/certificate.md      write it

A gradient can be climbed only if it is finite, is there, and is right. For every block in the registry and each of its
parameters (each option of a choice; notes one by one where it is per note; through time where it may vary) the
derivative is taken by back-propagation and by finite differences, in float64, with the parameter at the low end, the
middle and the high end of its range and the others at their defaults and the block's `probe`; then with all parameters
low together and all high together. The gradient with respect to the block's input is certified in the same way.

With y(u) the block's output at knob position u in [0, 1], two losses are followed: sum(w y), w fixed noise, which hears
every sample, and sum(y^2), which hears energy. Their derivatives are w.y'(u) and 2 y.y'(u), where y'(u) is

    inside the range     (8 (y(+h/2) - y(-h/2)) - (y(+h) - y(-h))) / (6 h)
    at the low end       (-21 y(0) + 32 y(h/2) - 12 y(h) + y(2h)) / (6 h), mirrored at the high end

that is: central and second-order one-sided differences after one step of Richardson extrapolation (Press et al.,
Numerical Recipes, section 5.7), with errors of order h^4 and h^3. The step is 1e-5 of the knob's travel; where that
disagrees, smaller and larger ones are tried, because a frequency turns phases thousands of radians per unit of travel
and a compressor has corners that a step may straddle.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hitchain import files
from hitchain.blocks.block import Block, Instrument, NoteBlock
from hitchain.blocks.modulation import Attached, ModulatedBlock, Modulator
from hitchain.blocks.nesting import make
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Choice, Parameter, Settings
from hitchain.blocks.registry import create, get, names, options

TOLERANCE = 1e-4
"""Largest accepted difference of two derivatives w.y', relative to the larger of them or, where both are smaller, to
|w| |y'| / sqrt(values), the size of the sum were its terms of random sign: below that it is cancellation. Smooth blocks
reach 1e-7 to 1e-10; the margin is for corners (of a detector, a clipper, a gate) that some samples cross within the
step: a share of them of the order of the step, at a slope of order one. A mistaken term is wrong by far more."""

INAUDIBLE = 1e-8
"""A derivative is dead where turning the whole knob at that rate would change the output by less than -160 dB, of its
level or of -20 dBFS, whichever is more."""

STEPS = (1e-5, 1e-6, 1e-7, 1e-8, 1e-4, 1e-3)
SAMPLE_RATE = 44100
LENGTHS = (4096, 16384, 65536, 131072)
"""Samples of input. A parameter that is silent in the first (a long delay, a slow release) is heard in a later one."""

Place = Literal["low", "middle", "high", "all low", "all high", "through time"]
Verdict = Literal["exact", "estimate", "flat", "dead", "wrong", "not finite"]

FRAMES = 8
_NOTE_INPUTS = {"onset": 0.1, "duration": 0.02, "pitch": 1.0, "velocity": 0.2}  # what counts as a whole turn of each
_DRUMS = (36, 38, 39, 42, 45, 46, 48, 49, 51)  # kick, snare, clap, closed hat, tom, open hat, tom, crash, ride


@dataclass(frozen=True)
class Gradient:
    """The verdict on one gradient at one place.

    Attributes:
        block: registry name. parameter: its name; `name=option` for a choice; `(audio)`, `(onset)`, ... for the input.
        place: where in its range.
        verdict: "exact"; "estimate" (declared so, finite and alive, not compared); "flat" (zero, rightly, with all
            parameters at one end together, where one knob may silence another); or, failing, "dead", "wrong",
            "not finite".
        error: the larger relative error of the two losses.
        step: of the finite difference, in knob travel.
        samples: of the input at which it was heard.
    """

    block: str
    parameter: str
    place: Place
    verdict: Verdict
    error: float
    step: float
    samples: int

    @property
    def passed(self) -> bool:
        """Whether an ascent may rely on it."""
        return self.verdict in ("exact", "estimate", "flat")

    def __str__(self) -> str:
        return f"{self.block}: {self.parameter} at {self.place}: {self.verdict}, relative error {self.error:.1e}"


def certify(block: Block) -> list[Gradient]:
    """The gradients of one block: of its parameters, in the order it declares them, then of its input."""
    bench = _Bench(block)
    return [gradient for knob in bench.knobs() for gradient in _certify_knob(bench, knob)]


def example(name: str) -> Block:
    """A block with the options it is tested with: its class's `example` where it needs some, at 120 beats a minute.

    A modulator is tested on the level of `effects/gain`.
    """
    chosen = dict(getattr(get(name), "example", {}))
    if "tempo" in options(name):
        chosen.setdefault("tempo", 120.0)
    if not issubclass(get(name), Modulator):
        return create(name, sample_rate=SAMPLE_RATE, **chosen)
    return _OnALevel(name, chosen)


class _OnALevel(ModulatedBlock):
    """A modulator by itself: it turns a level that stands at -20 dB."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        modulator, knobs = make({"block": name, **options}, name, SAMPLE_RATE)
        gain = create("effects/gain", sample_rate=SAMPLE_RATE)
        super().__init__(gain, [Attached(self.IT, modulator, gain.parameters[0])], {self.IT: knobs})  # type: ignore[arg-type]
        self.name = name  # type: ignore[misc]
        self.parameters = self.parameters[1:]  # type: ignore[misc]
        self.probe = {f"{self.IT}.{key}": value for key, value in modulator.probe.items()}  # type: ignore[misc]

    IT = "modulator"

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        level = torch.full_like(settings[f"{self.IT}.amount"], -20.0)
        return super().forward(audio, {**settings, "level": level})


@dataclass(frozen=True)
class Knob:
    """Something to be turned: its name, the places at which to try it and what a position u (batch,) does.

    `turn(u, at)` gives the value where the knob stands at `u` having been certified around `at`, both (batch,).
    """

    name: str
    key: str
    turn: Callable[[Tensor, Tensor], Tensor]
    places: tuple[Place, ...] = ("low", "middle", "high", "all low", "all high")
    is_input: bool = False
    estimate: bool = False
    may_be_flat: bool = False


_POSITIONS: dict[Place, float] = {
    "low": 0.0,
    "middle": 0.5,
    "high": 1.0,
    "all low": 0.0,
    "all high": 1.0,
    "through time": 0.5,
}


class _Bench:
    """One block wired up: from settings and input to a matrix of outputs (batch, values)."""

    def __init__(self, block: Block) -> None:
        self.block = block.double()
        self.samples = LENGTHS[0]

    def knobs(self) -> Iterator[Knob]:
        for parameter in self.block.parameters:
            if isinstance(parameter, Choice):
                yield from (_option(parameter, index) for index in range(len(parameter.options)))
            else:
                yield _parameter(parameter, self.notes_count)
                if parameter.varying:
                    yield _through_time(parameter)
        estimates = getattr(self.block, "estimated_inputs", ())
        for key in self.inputs:
            names_a_drum = key == "pitch" and self.plays_drums  # and is no frequency
            yield _input(key, estimate=key in estimates or names_a_drum, may_be_flat=names_a_drum)

    @property
    def takes_notes(self) -> bool:
        return isinstance(self.block, Instrument | NoteBlock)

    @property
    def plays_drums(self) -> bool:
        return bool(getattr(self.block, "plays_drums", self.block.name == "instruments/drums"))

    @property
    def notes_count(self) -> int:
        return self.notes(1).count if self.takes_notes else 0

    @property
    def inputs(self) -> tuple[str, ...]:
        if not self.takes_notes:
            return ("audio",)
        # A recording starts and stops with its notes, on whole samples: nothing of a note bends it.
        return () if getattr(self.block, "plays_itself", False) else tuple(_NOTE_INPUTS)

    def notes(self, batch: int) -> Notes:
        """Notes that begin, end and overlap within the length, at times off the sample grid."""
        pitches = [float(pitch) for pitch in _DRUMS] if self.plays_drums else [45.0, 57.3, 64.0, 76.2]
        seconds, count = self.samples / SAMPLE_RATE, len(pitches)
        onsets = [0.00131 + 0.55 * seconds * index / count for index in range(count)]
        durations = [seconds * (0.12 + 0.08 * (index % 3)) for index in range(count)]
        velocities = [0.9 - 0.13 * (index % 4) for index in range(count)]
        return Notes.of(onsets, durations, pitches, velocities, length=seconds, dtype=torch.float64).expand(batch)

    def audio(self, batch: int) -> Tensor:
        """Full-scale stereo noise over a sine, the sides different: (batch, 2, samples)."""
        noise = _noise((2, self.samples), seed=1).clamp(-3.0, 3.0) / 6.0
        time = torch.arange(self.samples, dtype=torch.float64) / SAMPLE_RATE
        sine = 0.5 * torch.sin(2 * math.pi * torch.tensor([[220.0], [331.0]], dtype=torch.float64) * time)
        return (noise + sine).expand(batch, 2, -1)

    def settings(self, places: Sequence[Place]) -> dict[str, Tensor]:
        """What stands around the knob being turned, for each place: defaults and probe, or all at one end."""
        settings = {SEED: torch.tensor(0)}
        for parameter in self.block.parameters:
            settings[parameter.name] = torch.stack([self._standing(parameter, place) for place in places])
        return settings

    def _standing(self, parameter: Parameter | Choice, place: Place) -> Tensor:
        probe = self.block.probe.get(parameter.name)
        if isinstance(parameter, Choice):
            by_place = {"all low": parameter.options[0], "all high": parameter.options[-1]}
            if probe is not None and place not in by_place:
                return torch.as_tensor(probe, dtype=torch.float64)
            return parameter.weights(by_place.get(place, parameter.default)).double()
        standing = parameter.default if probe is None else probe
        value = {"all low": parameter.low, "all high": parameter.high}.get(place, standing)
        return torch.tensor(value, dtype=torch.float64)

    def output(self, knob: Knob, places: Sequence[Place], position: Tensor, at: Tensor) -> Tensor:
        """The block's output with the knob at `position` (batch,) and the rest as at `places`: (batch, values)."""
        settings = self.settings(places)
        source: Notes | Tensor = self.notes(len(places)) if self.takes_notes else self.audio(len(places))
        value = knob.turn(position, at)
        if not knob.is_input:
            settings[knob.key] = value
        elif isinstance(source, Notes):
            given = getattr(source, knob.key)
            source = source.with_(**{knob.key: given + _NOTE_INPUTS[knob.key] * value[:, : given.shape[1]]})
        else:
            source = source + value[:, : 2 * self.samples].view(-1, 2, self.samples)
        return _flat(self.block(source, settings))


def _flat(output: Tensor | Notes) -> Tensor:
    if isinstance(output, Notes):
        fields = (output.onset, output.duration, output.pitch, output.velocity, output.mask)
        return torch.cat([field.flatten(1) for field in fields], dim=1)
    return output.flatten(1)


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _parameter(parameter: Parameter, notes: int) -> Knob:
    """A parameter's knob. Notes turn at different speeds, so that a mistake in one cannot hide in their sum."""

    def turn(position: Tensor, at: Tensor) -> Tensor:
        if not parameter.per_note or not notes:
            return parameter.from_unit(position)
        return parameter.from_unit(at[:, None] + (position - at)[:, None] * torch.linspace(0.5, 1.0, notes).double())

    return Knob(parameter.name, parameter.name, turn, estimate=parameter.estimate)


def _through_time(parameter: Parameter) -> Knob:
    def turn(position: Tensor, at: Tensor) -> Tensor:
        shape = 0.3 * torch.cos(torch.arange(FRAMES, dtype=torch.float64) * 2.0)
        return parameter.from_unit(at[:, None] + shape + (position - at)[:, None] * torch.linspace(0.5, 1.0, FRAMES))

    return Knob(parameter.name, parameter.name, turn, places=("through time",), estimate=parameter.estimate)


def _option(choice: Choice, index: int) -> Knob:
    """The weight of one option, at the expense of the default (or, for the default itself, of all the others)."""
    option = choice.weights(choice.options[index]).double()
    others = choice.weights(choice.default).double()
    if choice.options[index] == choice.default:
        others = (1.0 - option) / max(len(choice.options) - 1, 1)

    def turn(position: Tensor, at: Tensor) -> Tensor:
        return position[:, None] * option + (1.0 - position)[:, None] * others

    return Knob(f"{choice.name}={choice.options[index]}", choice.name, turn)


def _input(key: str, estimate: bool, may_be_flat: bool) -> Knob:
    """The input moved in a fixed random direction: by `position - at` times noise."""

    def turn(position: Tensor, at: Tensor) -> Tensor:
        return (position - at)[:, None] * _noise((2 * LENGTHS[-1],), seed=3)

    places: tuple[Place, ...] = ("middle", "all low", "all high")
    return Knob(f"({key})", key, turn, places, is_input=True, estimate=estimate, may_be_flat=may_be_flat)


def _certify_knob(bench: _Bench, knob: Knob) -> list[Gradient]:
    """Every place with the first step and length; again, with others, only where that does not pass."""
    done: dict[Place, Gradient] = {}
    for bench.samples in LENGTHS:
        unheard = [place for place in knob.places if place not in done or done[place].verdict != "exact"]
        done |= _compare_apart(bench, knob, unheard, STEPS[0])
        for step in STEPS[1:]:
            disagreeing = [place for place in unheard if done[place].verdict == "wrong"]
            tried = _compare_apart(bench, knob, disagreeing, step)
            done |= {place: found for place, found in tried.items() if found.error < done[place].error}
        if all(gradient.passed for gradient in done.values()):
            break
    return [done[place] for place in knob.places]


def _compare_apart(bench: _Bench, knob: Knob, places: Sequence[Place], step: float) -> dict[Place, Gradient]:
    """The ends of all knobs by themselves: how long a linear block rings there must not lengthen every transform."""
    together = [[place for place in places if not place.startswith("all ")]]
    together += [[place] for place in places if place.startswith("all ")]
    return {found.place: found for group in together for found in _compare(bench, knob, group, step)}


def _compare(bench: _Bench, knob: Knob, places: Sequence[Place], step: float) -> list[Gradient]:
    """Back-propagation against finite differences, which take one forward pass, batch items being independent."""
    if not places:
        return []
    at = torch.tensor([_POSITIONS[place] for place in places], dtype=torch.float64)
    position = at.clone().requires_grad_()
    output = bench.output(knob, places, position, at)
    noise = _noise((output.shape[1],), seed=2)
    propagated = [_gradient(loss.sum(), position) for loss in (output @ noise, output.square().sum(dim=1))]
    change = _difference(bench, knob, places, at, step)
    weights = torch.stack([noise.expand_as(change), 2.0 * output.detach()])
    reach = weights.norm(dim=2) / math.sqrt(change.shape[1])
    found = _Comparison(
        propagated=torch.stack(propagated),
        differenced=(weights * change).sum(dim=2),
        chance=reach * change.norm(dim=1),
        inaudible=INAUDIBLE * reach * output.detach().norm(dim=1).clamp_min(0.1 * math.sqrt(change.shape[1])),
    )
    return [
        Gradient(
            block=bench.block.name,
            parameter=knob.name,
            place=place,
            verdict=found.verdict(index, knob, place),
            error=float(found.error[index]),
            step=step,
            samples=bench.samples,
        )
        for index, place in enumerate(places)
    ]


def _gradient(loss: Tensor, position: Tensor) -> Tensor:
    if not loss.requires_grad:
        return torch.zeros_like(position)
    (gradient,) = torch.autograd.grad(loss, position, retain_graph=True, allow_unused=True)
    return torch.zeros_like(position) if gradient is None else gradient


def _difference(bench: _Bench, knob: Knob, places: Sequence[Place], at: Tensor, step: float) -> Tensor:
    """y'(u) by finite differences at every place: (places, values)."""
    inside = ((-1.0, 1 / 6), (-0.5, -8 / 6), (0.5, 8 / 6), (1.0, -1 / 6))
    upward = ((0.0, -21 / 6), (0.5, 32 / 6), (1.0, -12 / 6), (2.0, 1 / 6))
    downward = tuple((-offset, -weight) for offset, weight in upward)
    bounded = not knob.is_input
    stencils = [upward if bounded and u == 0.0 else downward if bounded and u == 1.0 else inside for u in at.tolist()]
    offsets = torch.tensor([[offset for offset, _ in stencil] for stencil in stencils], dtype=torch.float64)
    weights = torch.tensor([[weight for _, weight in stencil] for stencil in stencils], dtype=torch.float64)
    position = (at[:, None] + step * offsets).flatten()
    repeated = [place for place in places for _ in range(offsets.shape[1])]
    with torch.no_grad():
        output = bench.output(knob, repeated, position, at.repeat_interleave(offsets.shape[1]))
    return (output.view(len(places), offsets.shape[1], -1) * weights[..., None]).sum(dim=1) / step


@dataclass(frozen=True)
class _Comparison:
    """Derivatives of the two losses at each place, each (2, places).

    `chance` is the size of a derivative whose terms are of random sign; `inaudible` is what counts as none.
    """

    propagated: Tensor
    differenced: Tensor
    chance: Tensor
    inaudible: Tensor

    @cached_property
    def error(self) -> Tensor:
        scale = torch.maximum(torch.maximum(self.propagated.abs(), self.differenced.abs()), self.chance)
        relative = (self.propagated - self.differenced).abs() / scale.clamp_min(1e-300)
        return relative.amax(dim=0)

    def verdict(self, index: int, knob: Knob, place: Place) -> Verdict:
        if not bool(torch.isfinite(self.propagated[:, index]).all()):
            return "not finite"
        propagates = self._any_above(self.propagated, index)
        changes = self._any_above(self.chance, index)
        if not propagates and not changes:
            return "flat" if knob.may_be_flat or place in ("all low", "all high") else "dead"
        if not propagates:
            return "dead"
        if knob.estimate:
            return "estimate"
        return "exact" if changes and float(self.error[index]) <= TOLERANCE else "wrong"

    def _any_above(self, value: Tensor, index: int) -> bool:
        return bool((value[:, index].abs() > self.inaudible[:, index]).any())


def certify_all(chosen: Sequence[str] | None = None) -> list[Gradient]:
    """The certificate of the blocks named, or of every registered block."""
    return [gradient for name in (names() if chosen is None else chosen) for gradient in certify(example(name))]


def markdown(gradients: Sequence[Gradient]) -> str:
    """The certificate as a page of tables, one for each block."""
    failed = [gradient for gradient in gradients if not gradient.passed]
    blocks = list(dict.fromkeys(gradient.block for gradient in gradients))
    parts = [
        "# Gradient certificate",
        "Generated by `python -m hitchain.blocks.certificate --write docs/certificate.md`; do not edit. "
        "For every parameter of every block, and for its input: the relative difference between the back-propagated "
        "gradient and finite differences in float64, with the parameter at the low end, middle and high end of its "
        "range, and with all parameters low and all high together. How it is measured, and why the tolerance is "
        f"{TOLERANCE:g}, is told in `hitchain/blocks/certificate.py`.",
        f"{len(gradients)} gradients of {len(blocks)} blocks: {len(gradients) - len(failed)} pass, {len(failed)} fail.",
    ]
    for block in blocks:
        parts += [f"## {block}", _table([gradient for gradient in gradients if gradient.block == block])]
    return "\n\n".join(parts) + "\n"


_COLUMNS: tuple[Place, ...] = ("low", "middle", "high", "all low", "all high", "through time")


def _table(gradients: Sequence[Gradient]) -> str:
    used = [place for place in _COLUMNS if any(gradient.place == place for gradient in gradients)]
    lines = ["| parameter | " + " | ".join(used) + " | verdict |", "|---" * (len(used) + 2) + "|"]
    for parameter in dict.fromkeys(gradient.parameter for gradient in gradients):
        row = {gradient.place: gradient for gradient in gradients if gradient.parameter == parameter}
        cells = [_cell(row[place]) if place in row else "" for place in used]
        lines.append(f"| `{parameter}` | " + " | ".join(cells) + f" | {_summary(list(row.values()))} |")
    return "\n".join(lines)


def _cell(gradient: Gradient) -> str:
    return f"{gradient.error:.0e}" if gradient.verdict == "exact" else gradient.verdict


def _summary(row: Sequence[Gradient]) -> str:
    failed = [gradient for gradient in row if not gradient.passed]
    if failed:
        return f"**{failed[0].verdict}** at {failed[0].place} ({failed[0].error:.0e})"
    if any(gradient.verdict == "estimate" for gradient in row):
        return "estimate"
    compared = [gradient.error for gradient in row if gradient.verdict == "exact"]
    return f"exact ({max(compared):.0e})" if compared else "flat"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 1 where some gradient fails."""
    parser = argparse.ArgumentParser(prog="python -m hitchain.blocks.certificate", description="Certify gradients.")
    parser.add_argument("block", nargs="*", help="registry names; every block where none is given")
    parser.add_argument("--write", metavar="FILE", help="write the page there instead of printing it")
    given = parser.parse_args(arguments)
    gradients = certify_all(given.block or None)
    if given.write:
        files.write_text(Path(given.write), markdown(gradients))
    else:
        print(markdown(gradients))
    for gradient in gradients:
        if not gradient.passed:
            print(gradient)
    return int(any(not gradient.passed for gradient in gradients))


if __name__ == "__main__":
    raise SystemExit(main())
