"""Dreaming: gradient ascent on the waveform itself, the counter-example to climbing a production chain."""

from hitchain.rater.dream.dream import Dream, Dreamed, dream
from hitchain.rater.dream.settings import REGULARISERS, DreamSettings

__all__ = ["REGULARISERS", "Dream", "DreamSettings", "Dreamed", "dream"]
