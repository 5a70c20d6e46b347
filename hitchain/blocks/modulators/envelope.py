"""An envelope that every note starts."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.modulation import AMOUNT, Cue, Modulator
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

OVERLAPPING = 8
"""Notes whose envelopes are followed at a time: the last ones to begin."""


@register("modulators/envelope")
class Envelope(Modulator):
    """Envelope: attack, decay, sustain, release from every onset of the track's notes; 0 to 1.

        u < attack          u / attack,                                  u the time since the onset
        u < hold            sustain + (1 - sustain) e^(-(u - attack) / decay)
        from hold on        what it was at `hold`, times e^(-(u - hold) / release)

    Where envelopes overlap, the highest counts. A track without notes (a bus, the mastering) has one, at the start of
    the song.
    """

    parameters = (
        AMOUNT,
        Parameter("attack", 2.0, 2000.0, default=10.0, unit="ms", scale="log", description="to rise to the top"),
        Parameter("decay", 5.0, 4000.0, default=200.0, unit="ms", scale="log", description="time constant of the fall"),
        Parameter("sustain", 0.0, 1.0, default=0.4, description="where the fall ends"),
        Parameter(
            "hold", 5.0, 2500.0, default=250.0, unit="ms", scale="log", description="from the onset to the release"
        ),
        Parameter(
            "release", 5.0, 4000.0, default=150.0, unit="ms", scale="log", description="time constant of the end"
        ),
    )
    presets: ClassVar = {
        "pluck": {"attack": 2.0, "decay": 120.0, "sustain": 0.0, "amount": 0.3},
        "swell": {"attack": 600.0, "decay": 1000.0, "sustain": 0.8, "hold": 1500.0, "release": 400.0, "amount": 0.4},
        "gate": {"attack": 3.0, "sustain": 1.0, "hold": 120.0, "release": 20.0, "amount": 0.35},
    }
    probe: ClassVar = {"hold": 60.0}

    def control(self, cue: Cue, settings: Settings) -> Tensor:
        onsets = settings["attack"].new_zeros(len(settings["attack"]), 1)
        if cue.onsets is not None and cue.onsets.shape[-1]:
            onsets = cue.onsets
        since = _since_latest(cue.times, onsets.double()).to(settings["attack"])
        attack, decay, hold, release = (
            settings[key][:, None, None] / 1000.0 for key in ("attack", "decay", "hold", "release")
        )
        sustain = settings["sustain"][:, None, None]
        begun = since.isfinite()
        since = torch.where(begun, since, 0.0)
        held = torch.minimum(since, hold)
        falling = sustain + (1.0 - sustain) * torch.exp(-(held - attack).clamp_min(0.0) / decay)
        gate = torch.where(held < attack, held / attack, falling)
        levels = gate * torch.exp(-(since - hold).clamp_min(0.0) / release)
        return torch.where(begun, levels, 0.0).amax(dim=-1)


def _since_latest(times: Tensor, onsets: Tensor) -> Tensor:
    """[s] since each of the latest onsets at each time: (batch, frames, up to OVERLAPPING); inf where there is none.

    Args:
        times: (frames,), float64, rising.
        onsets: (batch, notes), float64, in any order; inf where there is none.
    """
    ordered, _ = onsets.sort(dim=-1)
    moments = times.to(ordered.device).expand(len(ordered), -1).contiguous()
    begun = torch.searchsorted(ordered.detach().contiguous(), moments, right=True)
    found = []
    for back in range(1, min(OVERLAPPING, ordered.shape[-1]) + 1):
        index = begun - back
        since = moments - ordered.gather(1, index.clamp_min(0))
        found.append(torch.where(index >= 0, since, torch.inf))
    return torch.stack(found, dim=-1)
