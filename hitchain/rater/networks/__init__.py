"""Rating networks: log-mel frames -> a rating. One architecture a file; all fit any length from a second.

network = networks.create("mel_cnn", 80, heads={"genre": ["folk", "jazz"]})
rating = network(frames)                    # (batch, 2, 80, frames) -> (batch,)
network.tasks(frames)                       # {"popularity": (batch,), "genre": (batch, 2) logits}
"""

from __future__ import annotations

from hitchain.rater.networks.registry import ARCHITECTURES, OPTIONS, create, default_options
from hitchain.rater.networks.trunk import INPUTS, HeadSettings, RatingNetwork

__all__ = ["ARCHITECTURES", "INPUTS", "OPTIONS", "HeadSettings", "RatingNetwork", "create", "default_options"]
