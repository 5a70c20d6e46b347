"""The last block of a song: loudness brought to a target, true peaks kept under a ceiling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import limiting, loudness
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

_COARSEST = 16  # at most so many samples become one in the quick model of the solver
_FLATTEST = 0.01  # LU per dB: the least slope by which an error or a gradient is divided
_MOST_STEPS = 16

Measured = TypeVar("Measured")


class Solution(NamedTuple, Generic[Measured]):
    """Of the search: gain [dB], slope [LU per dB] there and whether the target was within reach, each (batch,); and
    what came with the last measurement."""

    gain: Tensor
    slope: Tensor
    reached: Tensor
    measured: Measured


@register("mastering/limiter")
class Limiter(Block):
    """Gain into a look-ahead true-peak limiter, the gain such that the output has the target loudness.

        y = x * 10^((gain - reduction(level(x) + gain)) / 20),   gain: integrated_loudness(y) = target

    Level and reduction: `hitchain.blocks.dsp.limiting`; loudness: ITU-R BS.1770-4. The gain is found by bracketed
    secant steps without gradients, then given the gradient that the equation implies: loudness(gain, p) = target makes
    dgain/dp = -(dloudness/dp) / (dloudness/dgain), for p the audio and every parameter.

    Where the target is out of reach (silence, a lone click) the gain stops at `highest_gain` and has no gradient.

    Args:
        lookahead: [ms] over which the gain falls before a peak; it adds no delay.
        oversampling: points of the peak detector for each sample.
        highest_gain: [dB], so that silence is not amplified without end.
        tolerance: [LU] at which the search for the gain ends; in float64 a millionth of it.
    """

    parameters = (
        Parameter("target", -30.0, -6.0, default=-14.0, unit="LUFS", description="integrated loudness of the output"),
        Parameter("ceiling", -6.0, 0.0, default=-1.0, unit="dBTP", description="true peak of the output at most"),
        Parameter("release", 10.0, 1000.0, default=100.0, unit="ms", scale="log", description="time constant"),
    )
    presets: ClassVar = {  # loudness targets by name
        "streaming": {"target": -14.0, "ceiling": -1.0, "release": 100.0},  # what the large services play at
        "broadcast": {"target": -23.0, "ceiling": -1.0, "release": 100.0},  # EBU R 128
        "club": {"target": -8.0, "ceiling": -0.5, "release": 50.0},
        "dynamic": {"target": -18.0, "ceiling": -2.0, "release": 300.0},
    }
    probe: ClassVar[dict[str, float]] = {"target": -6.0, "ceiling": -2.0}  # lower, the limiter has nothing to do

    def __init__(
        self,
        sample_rate: int = 44100,
        lookahead: float = 5.0,
        oversampling: int = 4,
        highest_gain: float = 40.0,
        tolerance: float = 1e-3,
    ) -> None:
        super().__init__(sample_rate)
        self.lookahead = lookahead
        self.oversampling = oversampling
        self.highest_gain = highest_gain
        self.tolerance = tolerance

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        if audio.shape[-1] == 0:
            return audio
        target, release = settings["target"], settings["release"]
        level = limiting.excess(audio, settings["ceiling"], self.oversampling)
        slow, _ = limiting.stages(release, self.lookahead, self.sample_rate)
        held = limiting.hold(level, slow.lookahead)
        with torch.no_grad():
            start, slope = self._quick_gain(audio, level, target, release)
        result: Tensor = _Levelled.apply(self, audio, level, held, release, target, start, slope)  # type: ignore[no-untyped-call]
        return result

    def limited(self, audio: Tensor, level: Tensor, held: Tensor, release: Tensor, gain: Tensor) -> Tensor:
        """The output at a gain (batch,) [dB]. Level and held: of the input, above the ceiling."""
        slow, fast = limiting.stages(release, self.lookahead, self.sample_rate)
        raised = gain[:, None]
        return limiting.amplify(audio, gain, limiting.gain_reduction(level + raised, held + raised, slow, fast))

    def loudness(self, audio: Tensor) -> Tensor:
        """Integrated loudness (batch,) [LUFS]."""
        return loudness.integrated_loudness(audio, self.sample_rate)

    def _quick_gain(self, audio: Tensor, level: Tensor, target: Tensor, release: Tensor) -> tuple[Tensor, Tensor]:
        """A good first guess, and the loudness's slope there [LU per dB], from one sample in `_COARSEST`, on which the
        search costs next to nothing.

        The gain changes slowly beside the K-weighting's ringing, so weighting once, before it, is nearly the same.
        """
        hop = loudness.hop_length(self.sample_rate)
        factor = max(f for f in range(1, _COARSEST + 1) if hop % f == 0)
        samples = audio.shape[-1] // factor
        if samples == 0:
            return torch.zeros_like(target), torch.ones_like(target)
        power = loudness.weighted_power(audio, self.sample_rate, factor)
        peaks = level[:, : samples * factor].reshape(-1, samples, factor).amax(dim=-1)
        slow, fast = limiting.stages(release, self.lookahead, self.sample_rate / factor)
        held = limiting.hold(peaks, slow.lookahead)

        def gated(power: Tensor) -> Tensor:
            return loudness.gated_loudness(loudness.block_means(_hops(power, hop // factor)))

        def quick(gain: Tensor) -> tuple[Tensor, None]:
            raised = gain[:, None]
            reduction = limiting.gain_reduction(peaks + raised, held + raised, slow, fast)
            return gated(power * to_gain(2.0 * (raised - reduction))), None

        found = self.solve(quick, target, target - gated(power), torch.ones_like(target))
        return found.gain, found.slope

    def solve(
        self, measure: Callable[[Tensor], tuple[Tensor, Measured]], target: Tensor, start: Tensor, slope: Tensor
    ) -> Solution[Measured]:
        """The gain (batch,) [dB] at which the loudness is the target.

        The loudness rises with the gain, by 1 LU per dB at most and ever less as the limiter works: a step of the error
        over the slope, then secants, come up to the gain from below. What steps out of the bracket is halved into it.

        Args:
            measure: gain -> loudness (batch,) [LUFS], and what came of it.
            start: first guess; slope: the loudness's slope there, in (0, 1]; each (batch,).
        """
        low, high = torch.full_like(start, -torch.inf), torch.full_like(start, torch.inf)
        tolerance = self.tolerance * (1e-6 if start.dtype == torch.float64 else 1.0)
        gain = start.clamp_max(self.highest_gain)
        heard, measured = measure(gain)
        error = heard - target
        for _ in range(_MOST_STEPS):
            low = torch.where(error < 0, gain, low)
            high = torch.where(error > 0, gain, high)
            proposal = (gain - error / slope).clamp_max(self.highest_gain)
            proposal = torch.where((proposal > low) & (proposal < high), proposal, 0.5 * (low + high))
            out_of_reach = low >= self.highest_gain
            done = (error.abs() <= tolerance) | (high - low <= tolerance) | out_of_reach
            if bool(done.all()):
                break
            proposal = torch.where(done, gain, proposal)
            heard, measured = measure(proposal)
            change = heard - target - error
            slope = torch.where(done, slope, (change / (proposal - gain)).clamp(_FLATTEST, 1.0))
            gain, error = proposal, torch.where(done, error, error + change)
        return Solution(gain, slope, (gain < self.highest_gain) | (error >= 0), measured)


def _hops(power: Tensor, steps: int) -> Tensor:
    """Means of `steps` steps each; of all, where there are fewer."""
    steps = min(steps, power.shape[-1])
    hops = power.shape[-1] // steps
    return power[:, : hops * steps].reshape(-1, hops, steps).mean(dim=-1)


class _Levelled(torch.autograd.Function):
    """The limiter's output at the gain that gives the target loudness, and its gradient as of an implicit function.

    Let y(gain, p) be the output, v = dL/dy what comes back, u = dloudness/dy. As loudness(y(gain, p)) = target,

        dL/dp = v dy/dp + (v dy/dgain) dgain/dp,   dgain/dp = -(u dy/dp) / (u dy/dgain)
              = (v - lambda u) dy/dp,              lambda = (v dy/dgain) / (u dy/dgain) = dL/dtarget

    Nothing but the inputs and the gain is kept: the output is worked out again on the way back.
    """

    @staticmethod
    def forward(
        ctx: Any,
        block: Limiter,
        audio: Tensor,
        level: Tensor,
        held: Tensor,
        release: Tensor,
        target: Tensor,
        start: Tensor,
        slope: Tensor,
    ) -> Tensor:
        def measure(gain: Tensor) -> tuple[Tensor, Tensor]:
            output = block.limited(audio, level, held, release, gain)
            return block.loudness(output), output

        found = block.solve(measure, target, start, slope)
        ctx.block = block
        ctx.save_for_backward(audio, level, held, release, found.gain, found.reached)
        return found.measured

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, reached = ctx.saved_tensors
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        with torch.enable_grad():
            output = ctx.block.limited(*inputs)
            free = output.detach().requires_grad_()
            (louder,) = torch.autograd.grad(ctx.block.loudness(free).sum(), free)
        *own, own_gain = _gradients(output, inputs, grad, retain_graph=True)
        *shared, slope = _gradients(output, inputs, louder, retain_graph=False)
        share = torch.where(reached, own_gain / slope.clamp_min(_FLATTEST), 0.0)
        grads = [
            mine - share.reshape(-1, *[1] * (mine.ndim - 1)) * loud for mine, loud in zip(own, shared, strict=True)
        ]
        return None, *grads, share, None, None


def _gradients(output: Tensor, inputs: list[Tensor], grad: Tensor, retain_graph: bool) -> tuple[Tensor, ...]:
    """Zero for what the output does not depend on, as on the level where nothing passes the ceiling by much."""
    return torch.autograd.grad(
        output, inputs, grad, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
    )
