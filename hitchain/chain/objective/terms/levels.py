"""Terms of level: how loud a song is, how high its peaks are, and how far they stand above it."""

from __future__ import annotations

from torch import Tensor

from hitchain.blocks.dsp import loudness
from hitchain.chain.objective.term import term
from hitchain.chain.objective.terms.whole import WholeSong


@term("loudness")
class Loudness(WholeSong):
    """Integrated loudness of ITU-R BS.1770-4 [LUFS]; silence reads -120."""

    unit = "LUFS"

    def level(self, audio: Tensor, sample_rate: int) -> Tensor:
        return loudness.integrated_loudness(audio, sample_rate)


@term("true_peak")
class TruePeak(WholeSong):
    """True peak of ITU-R BS.1770-4, annex 2 [dBTP], the higher of the channels; silence reads -160."""

    unit = "dBTP"
    scale = 0.5

    def level(self, audio: Tensor, sample_rate: int) -> Tensor:
        return loudness.true_peak(audio, sample_rate)


@term("dynamic_range")
class DynamicRange(WholeSong):
    """Peak to loudness ratio, PLR = true peak - integrated loudness [dB] (AES TD1004.1.15-10).

    Not the loudness range of EBU Tech 3342, which says nothing of a window of a few seconds. A heavily limited master
    has about 6 dB, a dynamic one 15 and more; silence reads -40.
    """

    unit = "dB"

    def level(self, audio: Tensor, sample_rate: int) -> Tensor:
        return loudness.true_peak(audio, sample_rate) - loudness.integrated_loudness(audio, sample_rate)
