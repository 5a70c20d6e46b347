"""A loudspeaker in its cabinet, from a handful of physical quantities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.circuits import butterworth, warped
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.fft import frequencies
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

SPEED_OF_SOUND = 343.0
INCH = 0.0254
BREAKUP_QUALITY = 1.5
REAR_CORNER = 1500.0
"""Above it the sound from behind no longer bends round the cabinet [Hz]."""
REAR_SHARE = 0.9
"""What of the rear wave arrives in front at low frequencies, when the back is fully open."""


@register("cabs/speaker")
class Speaker(LinearBlock):
    """A guitar loudspeaker in its cabinet, as a product of textbook responses (p = j f / corner, pre-warped bilinear):

    - resonance: the cone on its suspension and the air in the box, p^2 / (p^2 + damping p + 1), a closed box with
      Q = 1 / damping (R. H. Small, "Closed-box loudspeaker systems", JAES 20(10), 1972).
    - baffle: below 115 m/s / width the front wave also goes behind, here 3 dB of the free field's 6 for what the floor
      gives back (H. F. Olson, "Direct radiator loudspeaker enclosures", JAES 17(1), 1969); width = 1.5 * size.
    - break-up: the cone no longer moves as one, a peak (p^2 + A p / Q + 1) / (p^2 + p / (A Q) + 1), A^2 = its gain.
    - roll-off: the voice coil's inductance and the cone's mass, a Butterworth low-pass of 2nd, 4th or 6th order.
    - open back: the rear wave comes inverted by a path of 1.6 * size round the cabinet, 1 - 0.9 open L exp(-j w t): the
      lows cancel as in a dipole, the low mids comb (L. L. Beranek, "Acoustics", 1954, chapter 7).

    All factors are minimum-phase. Pink noise leaves as loud as it came: a knob changes the tone, not the level.

    Args:
        sample_rate: of the session [Hz].
        order: of the roll-off: 2, 4 or 6.

    Raises:
        UserError: another order.
    """

    parameters = (
        Parameter("size", 6.0, 15.0, default=12.0, unit="inches", description="cone diameter: baffle and rear path"),
        Parameter("resonance", 50.0, 200.0, default=90.0, unit="Hz", scale="log", description="cone in its box"),
        Parameter("damping", 0.4, 2.5, default=1.0, scale="log", description="1 / Q: low booms, high is dry"),
        Parameter("breakup", 1000.0, 5000.0, default=2600.0, unit="Hz", scale="log", description="presence peak"),
        Parameter("breakup_gain", -6.0, 15.0, default=6.0, unit="dB", description="height of that peak"),
        Parameter("rolloff", 2000.0, 10000.0, default=5000.0, unit="Hz", scale="log", description="where it goes dark"),
        Parameter("open_back", 0.0, 1.0, default=0.2, description="0 closed, 1 open back"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level"),
    )

    def __init__(self, sample_rate: int = 44100, order: int = 4) -> None:
        super().__init__(sample_rate)
        if order not in (2, 4, 6):
            raise UserError(f"the speaker's order={order!r} is not an option; it can be one of: 2, 4, 6.")
        self.order = order
        highest = min(10_000.0, 0.45 * sample_rate)
        self.register_buffer("pink", torch.logspace(math.log10(50.0), math.log10(highest), 128), persistent=False)

    def tail(self, settings: Settings) -> float:
        """Until the resonance, the slowest pole, has died away by 100 dB: ln(1e5) / its decay rate [1/s]."""
        damping = settings["damping"].detach()
        slowest = damping / 2.0 - (damping.square() / 4.0 - 1.0).clamp_min(0.0).sqrt()
        rate = 2.0 * math.pi * settings["resonance"].detach() * slowest
        return math.log(1e5) / float(rate.min()) + 0.005  # the rear wave's path takes a little, too

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        hertz = frequencies(n_fft, self.sample_rate, like=settings["size"])
        # Equal steps of log frequency weigh as pink noise does.
        loudness = self._shape(settings, self.get_buffer("pink").to(hertz)).abs().square().mean(dim=-1).sqrt()
        gain = to_gain(settings["level"]) / loudness
        return (self._shape(settings, hertz) * gain[:, None])[:, None]

    def _shape(self, settings: Settings, hertz: Tensor) -> Tensor:
        shape = self._resonance(settings, hertz) * self._baffle(settings, hertz)
        shape = shape * self._breakup(settings, hertz) * self._rolloff(settings, hertz)
        return shape * self._open_back(settings, hertz)

    def _axis(self, hertz: Tensor, corner: Tensor) -> Tensor:
        return warped(hertz, corner[:, None], self.sample_rate)

    def _resonance(self, settings: Settings, hertz: Tensor) -> Tensor:
        w = self._axis(hertz, settings["resonance"])
        return -w.square() / torch.complex(1.0 - w.square(), settings["damping"][:, None] * w)

    def _baffle(self, settings: Settings, hertz: Tensor) -> Tensor:
        w = self._axis(hertz, 115.0 / (1.5 * INCH * settings["size"]))
        return torch.complex(torch.full_like(w, math.sqrt(0.5)), w) / torch.complex(torch.ones_like(w), w)

    def _breakup(self, settings: Settings, hertz: Tensor) -> Tensor:
        w = self._axis(hertz, settings["breakup"])
        height = to_gain(0.5 * settings["breakup_gain"])[:, None]
        real = 1.0 - w.square()
        return torch.complex(real, w * height / BREAKUP_QUALITY) / torch.complex(real, w / (height * BREAKUP_QUALITY))

    def _rolloff(self, settings: Settings, hertz: Tensor) -> Tensor:
        return butterworth(self._axis(hertz, settings["rolloff"]), self.order)

    def _open_back(self, settings: Settings, hertz: Tensor) -> Tensor:
        seconds = 1.6 * INCH * settings["size"] / SPEED_OF_SOUND
        angle = -2.0 * math.pi * hertz * seconds[:, None]
        bent = butterworth(self._axis(hertz, torch.full_like(seconds, REAR_CORNER)), 2)
        share = REAR_SHARE * settings["open_back"][:, None]
        return 1.0 - share * bent * torch.polar(torch.ones_like(angle), angle)
