"""The last block of a song: loudness brought to a target, true peaks kept under a ceiling."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import limiting, loudness
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

_MARGIN = 0.15  # dB kept under the ceiling, for peaks that fall between the points of the detector
_COARSEST = 16  # at most so many samples become one in the quick model of the solver
_FLATTEST = 0.01  # LU per dB: the least slope by which an error or a gradient is divided
_MOST_STEPS = 16
_FAST_LOOKAHEAD = 0.5  # ms
_FAST_RELEASE = 1.0  # ms


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
        self.slow_lookahead = max(1, round(lookahead * 1e-3 * sample_rate))
        self.fast_lookahead = max(1, round(_FAST_LOOKAHEAD * 1e-3 * sample_rate))
        self.oversampling = oversampling
        self.highest_gain = highest_gain
        self.tolerance = tolerance

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        level = limiting.peak_level(audio, self.oversampling) - (settings["ceiling"] - _MARGIN)[:, None]
        held = limiting.hold(level, self.slow_lookahead)
        slow, fast = self._stages(settings["release"])

        def limited(gain: Tensor) -> Tensor:
            raised = gain[:, None]
            return audio * to_gain(raised - limiting.gain_reduction(level + raised, held + raised, slow, fast))[:, None]

        with torch.no_grad():
            start = self._quick_gain(audio, level, settings)
            gain, reached = self._solve(lambda gain: self._loudness(limited(gain)), settings["target"], start)
        if torch.is_grad_enabled() and any(value.requires_grad for value in (audio, *settings.values())):
            gain = self._with_gradient(limited, gain, reached, settings["target"])
        return limited(gain)

    def _stages(self, release: Tensor, factor: int = 1) -> tuple[limiting.Stage, limiting.Stage]:
        """The two stages, at the sample rate divided by `factor`."""
        rate = self.sample_rate / factor
        slow = limiting.release_coefficient(release, rate)
        fast = limiting.release_coefficient(torch.full_like(release, _FAST_RELEASE), rate)
        return (
            limiting.Stage(slow, max(1, round(self.slow_lookahead / factor))),
            limiting.Stage(fast, max(1, round(self.fast_lookahead / factor))),
        )

    def _loudness(self, audio: Tensor) -> Tensor:
        return loudness.integrated_loudness(audio, self.sample_rate)

    def _with_gradient(
        self, limited: Callable[[Tensor], Tensor], gain: Tensor, reached: Tensor, target: Tensor
    ) -> Tensor:
        """The same gain, with the gradient of the implicit function."""
        with torch.enable_grad():
            free = gain.clone().requires_grad_()
            error = self._loudness(limited(free)) - target
            (slope,) = torch.autograd.grad(error.sum(), free, retain_graph=True)
        step = (error - error.detach()) / slope.clamp_min(_FLATTEST)
        return gain - torch.where(reached, step, 0.0)

    def _quick_gain(self, audio: Tensor, level: Tensor, settings: Settings) -> Tensor:
        """A good first guess from one sample in `_COARSEST`, on which the search costs next to nothing.

        The gain changes slowly beside the K-weighting's ringing, so weighting once, before it, is nearly the same.
        """
        hop = loudness.hop_length(self.sample_rate)
        factor = max(f for f in range(1, _COARSEST + 1) if hop % f == 0)
        samples = audio.shape[-1] // factor
        if samples == 0:
            return torch.zeros_like(settings["target"])

        def coarse(signal: Tensor) -> Tensor:
            return signal[:, : samples * factor].reshape(-1, samples, factor)

        power = coarse(loudness.k_weighted(audio, self.sample_rate).square().sum(dim=1)).mean(dim=-1)
        peaks = coarse(level).amax(dim=-1)
        slow, fast = self._stages(settings["release"], factor)
        held = limiting.hold(peaks, slow.lookahead)

        def quick_loudness(gain: Tensor) -> Tensor:
            raised = gain[:, None]
            reduction = limiting.gain_reduction(peaks + raised, held + raised, slow, fast)
            return self._gated(power * to_gain(2.0 * (raised - reduction)), hop // factor)

        unlimited = settings["target"] - self._gated(power, hop // factor)
        return self._solve(quick_loudness, settings["target"], unlimited)[0]

    @staticmethod
    def _gated(power: Tensor, hop: int) -> Tensor:
        return loudness.gated_loudness(loudness.mean_squares(power, hop))

    def _solve(self, measure: Callable[[Tensor], Tensor], target: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """The gain (batch,) [dB] at which `measure` is the target, and where that lies below the highest gain.

        `measure` rises with the gain, by 1 LU per dB at most and ever less as the limiter works: so a step of the error
        itself, then secants, come up to the gain from below. What steps out of the bracket is halved into it.
        """
        low, high = torch.full_like(start, -torch.inf), torch.full_like(start, torch.inf)
        tolerance = self.tolerance * (1e-6 if start.dtype == torch.float64 else 1.0)
        gain = start.clamp_max(self.highest_gain)
        error = measure(gain) - target
        slope = torch.ones_like(gain)
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
            change = measure(proposal) - target - error
            slope = torch.where(done, slope, (change / (proposal - gain)).clamp(_FLATTEST, 1.0))
            gain, error = proposal, torch.where(done, error, error + change)
        return gain, (gain < self.highest_gain) | (error >= 0)
