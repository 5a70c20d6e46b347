"""Somebody else's processor as a block, with estimated gradients."""

from __future__ import annotations

import zlib
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks import proxy as proxies
from hitchain.blocks.block import Block
from hitchain.blocks.dsp import hosting
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.parameter import SEED, Choice, Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

_FAINTEST = 1e-3  # level at which a gradient goes through the plugin where the input is silent


@register("effects/plugin")
class Plugin(Block):
    """A pedalboard built-in or an installed VST3 or AU effect: y = (1 - wet) x + wet plugin(x).

    Needs the extra `[plugins]`. The plugin is a closed box, so only the gradient of `wet` is exact. That of its
    parameters is estimated by simultaneous perturbation (J. C. Spall, IEEE Trans. Automatic Control 37(3), 1992): all
    knobs u are moved at once by step c in random directions d = +-1, and with g the gradient of the output

        dL/du_k = mean over `probes` of <g, y(u + c d) - y(u - c d)> / (2 c d_k)

    which is right in the mean and noisy in each draw. The directions are drawn from the patch's seed and the knobs'
    values: the same every time, and new wherever a climb moves. The gradient of the input is g played backwards through
    the plugin and turned round again: exact for a linear plugin that does not change with time (an equaliser, a delay,
    a reverb), an estimate for any other. A backward pass runs the plugin 2 `probes` + 1 times.

    A VST3 or AU file is native code, and loading it runs it: see `hitchain.blocks.dsp.hosting` for the folders it is
    loaded from. The plugin processes float32 and begins from rest at the start of the audio, so what moves by itself in
    it (an LFO) is not in step from one window of a song to the next.

    Args:
        plugin: a built-in's name (`Chorus`, `Reverb`, `LadderFilter`, ...) or the path of a .vst3 or .component file.
        probes: pairs of runs from which a gradient is estimated.
        step: c, as a share of each knob's travel.
        proxy: a file written by `hitchain train-proxy`. Both gradients then come from that learned stand-in
            (`hitchain.blocks.proxy`) instead: smooth, and as right as it is near. The sound stays the plugin's.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Parameter("wet", 0.0, 1.0, default=1.0, varying=True, description="0 dry, 1 through the plugin"),
    )
    open_parameters = True
    estimated_inputs: ClassVar = ("audio",)
    example: ClassVar = {"plugin": "PeakFilter"}
    probe: ClassVar = {"wet": 0.8}

    def __init__(
        self,
        sample_rate: int = 44100,
        plugin: str | None = None,
        probes: int = 2,
        step: float = 0.01,
        proxy: str | None = None,
    ) -> None:
        super().__init__(sample_rate)
        if not plugin:
            raise UserError("effects/plugin: give plugin=NAME_OR_PATH, for example plugin=Chorus.")
        if probes < 1 or not 0.0 < step <= 0.25:
            raise UserError("effects/plugin: probes should be 1 or more, step above 0 and up to 0.25.")
        self.plugin = plugin
        self.host = hosting.open_plugin(plugin, sample_rate)
        self.probes, self.step = probes, step
        self.knobs = self.host.parameters
        if any(knob.name == "wet" for knob in self.knobs):
            raise UserError(f"effects/plugin: plugin={plugin} has a parameter 'wet', which is this block's own.")
        self.proxy = None if proxy is None else proxies.load(proxy, [knob.name for knob in self.knobs], sample_rate)
        self.parameters = (*type(self).parameters, *self.knobs)  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        if audio.shape[-1] == 0:
            return audio
        values = torch.zeros(audio.shape[0], 0, dtype=audio.dtype, device=audio.device)
        if self.knobs:
            values = torch.stack([settings[knob.name] for knob in self.knobs], dim=-1)
        wet: Tensor = _Run.apply(self, audio, values, int(settings.get(SEED, 0)))  # type: ignore[no-untyped-call]
        return audio + over_audio(settings["wet"], audio.shape[-1]) * (wet - audio)

    def run(self, audio: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """One item (channels, samples), the knobs at `values`."""
        within = [min(max(float(value), knob.low), knob.high) for knob, value in zip(self.knobs, values, strict=True)]
        return self.host.process(audio, within)

    def perturbed(self, values: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """The knobs (knobs,) a step up and down along a direction, within their ranges."""
        positions = torch.stack([knob.to_unit(value) for knob, value in zip(self.knobs, values, strict=True)])
        moved = [(positions + side * self.step * direction).clamp(0.0, 1.0) for side in (1.0, -1.0)]
        up, down = (
            torch.stack([knob.from_unit(place) for knob, place in zip(self.knobs, row, strict=True)]) for row in moved
        )
        return up, down


class _Run(torch.autograd.Function):
    """The plugin on every item of a batch, (batch, channels, samples) and values (batch, knobs)."""

    @staticmethod
    def forward(ctx: Any, block: Plugin, audio: Tensor, values: Tensor, seed: int) -> Tensor:
        ctx.block, ctx.seed = block, seed
        ctx.save_for_backward(audio, values)
        given, knobs = audio.detach().cpu().float().numpy(), values.detach().cpu().double().numpy()
        items = [block.run(item, knob) for item, knob in zip(given, knobs, strict=True)]
        return torch.from_numpy(np.stack(items)).to(audio)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        audio, values = ctx.saved_tensors
        if ctx.block.proxy is not None:
            return None, *_learned(ctx.block, audio, values, grad), None
        given, knobs = audio.cpu().float().numpy(), values.detach().cpu().double()
        gradient = grad.cpu().double().numpy()
        rows = list(zip(given, knobs, gradient, strict=True))
        grad_audio = grad_values = None
        if ctx.needs_input_grad[1]:
            parts = [_backwards(ctx.block, *row) for row in rows]
            grad_audio = torch.from_numpy(np.stack(parts)).to(audio)
        if ctx.needs_input_grad[2]:
            grad_values = torch.stack([_estimate(ctx.block, *row, ctx.seed) for row in rows]).to(values)
        return None, grad_audio, grad_values, None


def _learned(block: Plugin, audio: Tensor, values: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The proxy's gradients of the audio and the knobs."""
    with torch.enable_grad():
        given, knobs = audio.detach().requires_grad_(), values.detach().requires_grad_()
        places = [knob.to_unit(value) for knob, value in zip(block.knobs, knobs.T, strict=True)]
        output = block.proxy(given.float(), torch.stack(places, dim=-1).float())  # type: ignore[misc]
        grad_audio, grad_values = torch.autograd.grad(output, (given, knobs), grad.to(output))
    return grad_audio, grad_values


def _backwards(
    block: Plugin, audio: np.ndarray[Any, Any], values: Tensor, grad: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The adjoint of a linear filter: its input's gradient is the output's, through the filter in reverse time.

    It goes through at the input's level, at which a plugin that listens to levels does about what it did.
    """
    size = float(np.sqrt(np.mean(grad**2)))
    if size == 0.0:
        return np.zeros_like(grad)
    scale = max(float(np.sqrt(np.mean(audio.astype(np.float64) ** 2))), _FAINTEST) / size
    through = block.run((grad[:, ::-1] * scale).astype(np.float32), values.numpy())
    turned: np.ndarray[Any, Any] = through[:, ::-1].astype(np.float64) / scale
    return turned


def _estimate(
    block: Plugin, audio: np.ndarray[Any, Any], values: Tensor, grad: np.ndarray[Any, Any], seed: int
) -> Tensor:
    """Simultaneous perturbation: the gradient of every knob (knobs,)."""
    estimate = torch.zeros_like(values)
    generator = torch.Generator().manual_seed(seed * 0x9E3779B1 + zlib.crc32(values.numpy().tobytes()))
    for _ in range(block.probes):
        direction = torch.randint(0, 2, values.shape, generator=generator).double() * 2.0 - 1.0
        up, down = block.perturbed(values, direction)
        change = block.run(audio, up.numpy()).astype(np.float64) - block.run(audio, down.numpy())
        estimate += float(np.sum(grad * change)) / (up - down) / block.probes
    return estimate
