"""Equaliser and compressor, batch 4, stereo."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import limits
from benchmarks.harness import SAMPLE_RATE, Contender, Report, against, backward, compare, music, peer
from hitchain import blocks
from hitchain.blocks.dsp import section_filter

BATCH = 4
EQ = {"low_shelf_gain": 3.0, "peak1_gain": -4.0, "peak2_gain": 5.0, "peak3_gain": -3.0, "peak4_gain": 4.0}
EQ |= {"high_shelf_gain": -2.0}


def settings_of(block: blocks.Block, changed: dict[str, float], batch: int = BATCH) -> dict[str, Tensor]:
    """The defaults of a block with some values changed: (batch,) each."""
    return block.defaults(batch) | {name: torch.full((batch,), value) for name, value in changed.items()}


def equaliser(repeats: int, seconds: float) -> Report:
    """Six bands: low shelf, four peaks, high shelf."""
    audio = music(BATCH, 2, seconds)
    block = blocks.create("effects/parametric_eq")
    settings = settings_of(block, EQ)
    length = BATCH * seconds
    field = [Contender("ours", backward(block, audio, settings), length)]
    dasp, why_dasp = peer("dasp_pytorch.functional")
    if dasp is not None:
        field.append(Contender("dasp", backward(_dasp_eq(dasp), audio, _dasp_eq_settings(settings)), length))
    grafx, why_grafx = peer("grafx.processors")
    if grafx is not None:
        field.append(Contender("grafx", backward(*_grafx_eq(grafx, audio)), length))
    times = compare(field, repeats)
    ours = times["ours"]
    bare = limits.time_of(_block_products(audio, states=2 * 6), repeats)
    return Report(
        title=f"6-band EQ, {BATCH} x {seconds:g} s stereo",
        ours=ours.show(),
        lines=[
            against(ours, times.get("dasp"), "dasp-pytorch", "5 x dasp-pytorch", 5.0, why_dasp),
            against(
                ours, times.get("grafx"), "GRAFX (its default: a filter of 4000 taps)", "5 x GRAFX", 5.0, why_grafx
            ),
        ],
        limit="the matrix products over blocks of samples: the filter, its adjoint, the coefficients' gradient",
        near=limits.nearness(ours.seconds, bare),
        notes=["Exactness against scipy is a test of the block; dasp-pytorch and GRAFX's default are approximations."],
    )


def _block_products(audio: Tensor, states: int) -> Callable[[], None]:
    """What `section_filter` multiplies forward and backward, bare, at the same widths."""
    rows = audio.reshape(-1, audio.shape[-1])
    whole = rows[:, : rows.shape[-1] // section_filter.BLOCK * section_filter.BLOCK]
    signal = whole.reshape(len(rows), -1, section_filter.BLOCK)
    matrix = torch.randn(len(rows), section_filter.BLOCK, section_filter.BLOCK + states)
    wide = signal @ matrix

    def run() -> None:
        for _ in ("forward", "adjoint"):
            signal @ matrix
        wide.mT @ wide

    return run


def _dasp_eq(dasp: Any) -> Any:
    def process(audio: Tensor, settings: dict[str, Tensor]) -> Tensor:
        return dasp.parametric_eq(audio, SAMPLE_RATE, **settings)

    return process


def _dasp_eq_settings(settings: dict[str, Tensor]) -> dict[str, Tensor]:
    theirs: dict[str, Tensor] = {}
    bands = ["low_shelf", "peak1", "peak2", "peak3", "peak4", "high_shelf"]
    names = ["low_shelf", "band0", "band1", "band2", "band3", "high_shelf"]
    for band, name in zip(bands, names, strict=True):
        theirs[f"{name}_gain_db"] = settings[f"{band}_gain"][:, None]
        theirs[f"{name}_cutoff_freq"] = settings[f"{band}_frequency"][:, None]
        theirs[f"{name}_q_factor"] = settings.get(f"{band}_q", torch.full((BATCH,), math.sqrt(0.5)))[:, None]
    return theirs


def _grafx_eq(grafx: Any, audio: Tensor) -> tuple[Any, Tensor, dict[str, Tensor]]:
    equaliser = grafx.ParametricEqualizer(num_filters=6, processor_channel="mono", flashfftconv=False)
    shape = (audio.shape[0], 1, 6)
    generator = torch.Generator().manual_seed(0)
    settings = {name: torch.randn(shape, generator=generator) * 0.3 for name in ("w0", "q_inv", "log_gain")}

    def process(signal: Tensor, values: dict[str, Tensor]) -> Tensor:
        return torch.as_tensor(equaliser(signal, **values))

    return process, audio, settings


COMPRESSION = {"threshold": -24.0, "ratio": 4.0, "attack": 5.0, "release": 100.0}


def compressor(repeats: int, seconds: float) -> Report:
    """Attack and release, both channels linked."""
    audio = music(BATCH, 2, seconds)
    block = blocks.create("effects/compressor")
    settings = settings_of(block, COMPRESSION)
    length = BATCH * seconds
    field = [Contender("ours", backward(block, audio, settings), length)]
    torchcomp, why_torchcomp = peer("torchcomp")
    if torchcomp is not None:
        field.append(Contender("torchcomp", backward(_torchcomp(torchcomp), audio, _torchcomp_settings()), length))
    dasp, why_dasp = peer("dasp_pytorch.functional")
    if dasp is not None:
        field.append(Contender("dasp", backward(_dasp_compressor(dasp), audio, _dasp_compression(settings)), length))
    grafx, why_grafx = peer("grafx.processors")
    if grafx is not None:
        field.append(Contender("grafx", backward(*_grafx_compressor(grafx, audio)), length))
    times = compare(field, repeats)
    ours = times["ours"]
    steps = 2.0 * limits.recursion(BATCH, audio.shape[-1], repeats)
    passes = 4.0 * limits.memory_pass(audio, repeats)
    same = "torchcomp compexp_gain on the same linked peak level, times the audio"
    return Report(
        title=f"compressor, {BATCH} x {seconds:g} s linked stereo",
        ours=ours.show(),
        lines=[
            against(ours, times.get("torchcomp"), same, "1 x torchcomp, same detector", 1.0, why_torchcomp),
            against(ours, times.get("dasp"), "dasp-pytorch", "3 x dasp-pytorch", 3.0, why_dasp),
            against(ours, times.get("grafx"), "GRAFX (ballistics)", "no bar", None, why_grafx),
        ],
        limit="the recursion, a sample after the other, forward and backward, and four passes over the audio",
        near=limits.nearness(ours.seconds, steps + passes),
    )


def _torchcomp(torchcomp: Any) -> Any:
    def process(audio: Tensor, settings: dict[str, Tensor]) -> Tensor:
        return audio * torchcomp.compexp_gain(audio.abs().amax(dim=1), **settings)[:, None]

    return process


def _torchcomp_settings() -> dict[str, Tensor]:
    values = {"comp_thresh": -24.0, "comp_ratio": 4.0, "exp_thresh": -60.0, "exp_ratio": 0.9}
    values |= {
        name: 1.0 - math.exp(-1000.0 / (COMPRESSION[ours] * SAMPLE_RATE))
        for name, ours in (("at", "attack"), ("rt", "release"))
    }
    return {name: torch.full((BATCH,), value) for name, value in values.items()}


def _dasp_compressor(dasp: Any) -> Any:
    def process(audio: Tensor, settings: dict[str, Tensor]) -> Tensor:
        return torch.as_tensor(dasp.compressor(audio, SAMPLE_RATE, **settings))

    return process


def _dasp_compression(settings: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {"threshold_db": "threshold", "ratio": "ratio", "attack_ms": "attack", "release_ms": "release"}
    names |= {"knee_db": "knee", "makeup_gain_db": "makeup"}
    return {theirs: settings[ours][:, None] for theirs, ours in names.items()}


def _grafx_compressor(grafx: Any, audio: Tensor) -> tuple[Any, Tensor, dict[str, Tensor]]:
    processor = grafx.Compressor(energy_smoother="ballistics", knee="quadratic", flashfftconv=False)
    batch = audio.shape[0]
    settings = {
        "log_threshold": torch.full((batch, 1), 1.0),
        "log_ratio": torch.full((batch, 1), 1.0),
        "log_knee": torch.full((batch, 1), 0.0),
        "z_alpha_pre": torch.tensor([[-5.0, -8.0]]).repeat(batch, 1),
    }

    def process(signal: Tensor, values: dict[str, Tensor]) -> Tensor:
        return torch.as_tensor(processor(signal, **values))

    return process, audio, settings
