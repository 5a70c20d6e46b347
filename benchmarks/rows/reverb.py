"""Reverb, a decay of 2 s, batch 4, stereo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import limits
from benchmarks.harness import SAMPLE_RATE, Contender, Report, against, backward, compare, music, peer, published
from benchmarks.rows.effects import BATCH, settings_of
from hitchain import blocks
from hitchain.blocks.dsp import fft

DECAY = 2.0
DASP_SECONDS = 1.0
"""Of mono-batched audio that dasp-pytorch is given: it convolves sample by sample and takes minutes for the whole."""
DELAYS = (887, 1103, 1327, 1559, 1801, 2203)
"""[samples] of FLAMO's six lines, 20 to 50 ms."""


def reverb(repeats: int, seconds: float) -> Report:
    """Ours is a feedback delay network with a decay for each of three bands."""
    audio = music(BATCH, 2, seconds)
    block = blocks.create("effects/reverb")
    settings = settings_of(block, {"decay_low": DECAY, "decay_mid": DECAY, "decay_high": DECAY})
    length = BATCH * seconds
    tail = block.tail(settings)
    n_fft = fft.fast_length(audio.shape[-1] + round(tail * SAMPLE_RATE))
    field = [Contender("ours", backward(block, audio, settings), length)]
    dasp, why_dasp = peer("dasp_pytorch.functional")
    if dasp is not None:
        short = audio[:1, :, : round(DASP_SECONDS * SAMPLE_RATE)]
        field.append(Contender("dasp", backward(_dasp(dasp), short, _dasp_settings()), DASP_SECONDS, most=1))
    flamo, why_flamo = peer("flamo.processor.dsp")
    if flamo is not None:
        response = round(DECAY * SAMPLE_RATE)
        size = fft.fast_length(audio.shape[-1] + response)
        field.append(Contender("flamo", _flamo(audio, size), length, most=3))
    times = compare(field, repeats)
    ours = times["ours"]
    bare = limits.fft_pair(audio, n_fft, repeats)
    if "flamo" in times:
        flamo_line = against(ours, times["flamo"], "FLAMO, six lines", "20 x FLAMO", 20.0)
    else:
        flamo_line = published(
            ours, 2.7, f"FLAMO, six lines ({why_flamo}; measured earlier on a 2-core machine)", "20 x FLAMO", 20.0
        )
    return Report(
        title=f"reverb (feedback delay network, {DECAY:g} s), {BATCH} x {seconds:g} s stereo",
        ours=ours.show(),
        lines=[
            against(ours, times.get("dasp"), "dasp-pytorch", "100 x dasp-pytorch", 100.0, why_dasp),
            flamo_line,
        ],
        limit=f"the FFT pair over audio and tail ({tail:.1f} s), forward and backward",
        near=limits.nearness(ours.seconds, bare),
        notes=[
            f"dasp-pytorch was given 1 x {DASP_SECONDS:g} s and ran once: it convolves with its {DECAY:g} s of noise "
            "in the time domain, at a cost in proportion to the length.",
            "Ours is padded until its tail has fallen to -90 dB, FLAMO's by the 2 s of its response (-60 dB).",
        ],
    )


def _dasp(dasp: Any) -> Callable[[Tensor, dict[str, Tensor]], Tensor]:
    def process(audio: Tensor, settings: dict[str, Tensor]) -> Tensor:
        samples = round(DECAY * SAMPLE_RATE)
        return torch.as_tensor(dasp.noise_shaped_reverberation(audio, SAMPLE_RATE, **settings, num_samples=samples))

    return process


def _dasp_settings() -> dict[str, Tensor]:
    settings = {f"band{band}_{what}": torch.full((1, 1), 0.5) for what in ("gain", "decay") for band in range(12)}
    return {**settings, "mix": torch.full((1, 1), 0.3)}


def _flamo(audio: Tensor, n_fft: int) -> Callable[[], None]:
    """FLAMO's feedback delay network as its examples build it: stereo in and out, six lines, an orthogonal matrix."""
    from collections import OrderedDict

    from flamo.auxiliary.reverb import map_gamma
    from flamo.processor import dsp, system

    lines, lengths = len(DELAYS), torch.tensor(DELAYS)
    given: dict[str, Any] = {"nfft": n_fft, "requires_grad": True, "device": "cpu"}
    delays = dsp.parallelDelay(size=(lines,), max_len=max(DELAYS), nfft=n_fft, isint=True, fs=SAMPLE_RATE, device="cpu")
    delays.assign_value(delays.sample2s(lengths))
    attenuation = dsp.parallelGain(size=(lines,), **given)
    attenuation.map = map_gamma(lengths)
    attenuation.assign_value(6.0 * torch.ones(lines))
    forward = system.Series(OrderedDict(delays=delays, attenuation=attenuation))
    loop = system.Recursion(fF=forward, fB=dsp.Matrix(size=(lines, lines), matrix_type="orthogonal", **given))
    core = system.Series(
        OrderedDict(into=dsp.Gain(size=(lines, 2), **given), loop=loop, out=dsp.Gain(size=(2, lines), **given))
    )
    network = system.Shell(core=core, input_layer=dsp.FFT(n_fft), output_layer=dsp.iFFT(n_fft))
    padded = torch.nn.functional.pad(audio.transpose(1, 2), (0, 0, 0, n_fft - audio.shape[-1]))
    signal = padded.contiguous().requires_grad_()
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    cotangent = torch.randn(signal.shape) / n_fft

    def run() -> None:
        torch.autograd.grad(network(signal), [signal, *weights], cotangent)

    return run
