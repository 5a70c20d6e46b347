"""Automation lanes: a knob that moves as it was drawn, or as a controller of the MIDI file says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from hitchain.blocks.modulation import AMOUNT, Cue, Modulator
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

RAMP = 0.005
"""[s] A controller jumps from value to value; so long does the knob take for it, so that nothing clicks."""

MOST_POINTS = 100_000


@register("modulators/automation")
class Automation(Modulator):
    """Automation lane: a line through points in time, or a controller of the track's MIDI part; scaled by the amount.

    Between points the line is straight; before the first and after the last it is level. A controller, whose values 0
    to 127 count as 0 to 1, keeps its value until the next event and goes over to it in 5 ms. The knob stands at its own
    position plus `amount` times the lane: with the knob at its low end and an amount of 1, a lane from 0 to 1 turns it
    over its whole range.

    Args:
        sample_rate: [Hz].
        points: [[seconds into the song, value from -1 to 1], ...], in order of time.
        controller: instead of points, the number of a controller in the MIDI file, 0 to 119.
        controllers: those of the part, from the song.
    """

    parameters = (
        AMOUNT,
        Parameter("delay", -0.5, 0.5, default=0.0, unit="s", description="of the whole lane against the song"),
    )
    presets: ClassVar = {"half travel": {"amount": 0.5}, "backwards": {"amount": -0.25}}
    example: ClassVar = {"points": [[0.0007, 0.2], [0.013, 0.9], [0.03, -0.4], [0.2, 0.6], [0.9, 0.1]]}
    probe: ClassVar = {"delay": 0.001}

    def __init__(
        self,
        sample_rate: int = 44100,
        points: Sequence[Sequence[float]] | None = None,
        controller: int | None = None,
        controllers: Mapping[int, Tensor] | None = None,
    ) -> None:
        super().__init__(sample_rate)
        if (points is None) == (controller is None):
            raise UserError(
                "modulators/automation needs either points, for example points=[[0,0],[8,1]], or the number of a "
                "controller in the MIDI file, for example controller=1."
            )
        # no buffer, which a cast to float32 would reach: times stay float64
        self.lane = _drawn(points) if points is not None else _stepped(_lane(controller, controllers or {}))

    def control(self, cue: Cue, settings: Settings) -> Tensor:
        delay = settings["delay"].double().unsqueeze(-1)
        moments = cue.times.to(delay.device) - delay
        times, values = self.lane.to(delay.device).T.contiguous()
        if len(times) == 1:
            return torch.as_tensor((values + 0.0 * moments).to(settings["delay"].dtype))
        after = torch.searchsorted(times, moments.detach().contiguous(), right=True).clamp(1, len(times) - 1)
        begin, end = times[after - 1], times[after]
        share = ((moments - begin) / (end - begin)).clamp(0.0, 1.0)
        return torch.lerp(values[after - 1], values[after], share).to(settings["delay"].dtype)


def _drawn(points: Any) -> Tensor:
    """Checked points: float64 (points, 2)."""
    where = "modulators/automation: points"
    if not isinstance(points, Sequence) or isinstance(points, str) or not 1 <= len(points) <= MOST_POINTS:
        raise UserError(f"{where} should be 1 to {MOST_POINTS} pairs [seconds, value], for example [[0,0],[8,1]].")
    before = -math.inf
    for point in points:
        pair = list(point) if isinstance(point, Sequence) and not isinstance(point, str) else []
        if len(pair) != 2 or any(isinstance(item, bool) or not isinstance(item, int | float) for item in pair):
            raise UserError(f"{where}: {point!r} should be a pair [seconds, value].")
        if not before < pair[0] < math.inf:
            raise UserError(f"{where}: the time {pair[0]:g} s should be a number above the one before it.")
        if not -1.0 <= pair[1] <= 1.0:
            raise UserError(f"{where}: the value {pair[1]:g} at {pair[0]:g} s should be from -1 to 1.")
        before = pair[0]
    return torch.tensor([[float(time), float(value)] for time, value in points], dtype=torch.float64)


def _lane(controller: Any, controllers: Mapping[int, Tensor]) -> Tensor:
    """The events of a controller: float64 (events, 2)."""
    if isinstance(controller, bool) or not isinstance(controller, int) or not 0 <= controller <= 119:
        raise UserError(f"modulators/automation: controller={controller!r} should be a number from 0 to 119.")
    if controller not in controllers:
        there = ", ".join(str(number) for number in sorted(controllers)) or "none"
        raise UserError(
            f"modulators/automation: the track's notes have no controller {controller} (they have: {there}); "
            "a bus and the mastering have no notes: draw points there."
        )
    return controllers[controller].detach().double().cpu()


def _stepped(events: Tensor) -> Tensor:
    """Events held until the next, as points of a line: at each, the old value, and a ramp later the new one."""
    times, values = events.unbind(-1)
    if len(times) < 2:
        return events
    ramp = torch.cat([(times[1:].diff() * 0.5).clamp_max(RAMP), times.new_full((1,), RAMP)])
    corners = torch.stack([times[1:], values[:-1]], dim=-1), torch.stack([times[1:] + ramp, values[1:]], dim=-1)
    return torch.cat([events[:1], torch.stack(corners, dim=1).flatten(0, 1)])
