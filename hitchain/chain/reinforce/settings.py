"""What the environment and the training are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hitchain.chain.optimizers.settings import setting
from hitchain.errors import UserError

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
}
"""Semitones over the key note."""
TEMPI = (100.0, 132.0)
"""Beats per minute between which a task's tempo is drawn."""
BEATS = 4
"""Quarter notes in a bar."""
RING = 0.4
"""Seconds kept after the last bar."""
CHAIN = (
    "notes=none",
    "notes.file=demo",
    "effects=[parametric_eq,reverb]",
    "mastering.saturation=null",  # a third of the whole line's time
)
"""The one-track song whose notes are replaced and whose knobs are turned."""
KNOBS = (
    "instrument.brightness",
    "instrument.attack",
    "instrument.noise_level",
    "effects.parametric_eq.low_shelf_gain",
    "effects.parametric_eq.high_shelf_gain",
    "effects.reverb.mix",
    "mastering.equaliser.peak2_gain",
    "mastering.width.width",
)
"""The knobs that an agent turns."""


@dataclass(frozen=True)
class ProductionSettings:
    """The environment's rules and its reward.

    Attributes:
        bars: to fill with notes.
        slots: of a bar, of equal length; 8 for eighths.
        lowest, highest: notes that may be struck [MIDI].
        leap: most semitones from one note to the next.
        sweeps: how often every knob is turned.
        turn: how far one move turns a knob, as a share of its range.
        rater: that rewards.
        realness: weight of log P(real) by the critic at the end; 0 for no critic.
        real: recordings the critic learns from; None for the pack that ships.
        outputs: finished episodes after which the critic may learn again.
        warm: so often it learns in any case; later only where it is fooled.
        chain: overrides of the one-track song.
        knobs: full names of those that are turned.
        sample_rate: [Hz].
        seed: of the critic and of the blocks' noise.
    """

    bars: int = setting(1, 1, 8)
    slots: int = setting(8, 2, 32)
    lowest: int = setting(55, 12, 100)
    highest: int = setting(79, 24, 115)
    leap: int = setting(9, 5, 48)
    sweeps: int = setting(2, 0, 20)
    turn: float = setting(0.2, 0.01, 0.5)
    rater: str = "appeal"
    realness: float = setting(0.1, 0.0, 100.0)
    real: str | None = None
    outputs: int = setting(64, 1, 100_000)
    warm: int = setting(10, 1, 100_000)
    chain: Sequence[str] = field(default=CHAIN)
    knobs: Sequence[str] = field(default=KNOBS)
    sample_rate: int = setting(22_050, 8_000, 96_000)
    seed: int = setting(0, 0, 2**31 - 1)

    def __post_init__(self) -> None:
        if self.highest - self.lowest < 12:
            raise UserError(f"lowest={self.lowest}, highest={self.highest}: they should be an octave apart or more.")
        if not self.knobs:
            raise UserError("knobs=[] leaves nothing to turn; name one or more, like instrument.brightness.")
        for name in ("chain", "knobs"):  # a config's or a file's lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def steps(self) -> int:
        """Actions in an episode: every slot, then every knob in every sweep."""
        return self.bars * self.slots + self.sweeps * len(self.knobs)

    @property
    def pitches(self) -> int:
        """Notes that can be struck."""
        return self.highest - self.lowest + 1

    @property
    def length(self) -> float:
        """Seconds of audio, enough for the slowest tempo."""
        return self.bars * BEATS * 60.0 / TEMPI[0] + RING


@dataclass(frozen=True)
class TrainingSettings:
    """How an agent is trained.

    Attributes:
        rollouts: how often the agent plays and then learns.
        envs: episodes that are played, and rendered, side by side.
        episodes: that each of them plays in a rollout.
        learning_rate, batch, epochs, entropy, clip: of PPO.
        hidden: sizes of the layers of policy and value network.
        tensorboard: whether TensorBoard's events are written beside the history.
    """

    rollouts: int = setting(60, 1, 10_000_000)
    envs: int = setting(16, 1, 4096)
    episodes: int = setting(4, 1, 10_000)
    learning_rate: float = setting(1e-3, 1e-7, 1.0)
    batch: int = setting(256, 2, 1_000_000)
    epochs: int = setting(10, 1, 1000)
    entropy: float = setting(0.01, 0.0, 1.0)
    clip: float = setting(0.2, 0.01, 1.0)
    hidden: Sequence[int] = (64, 64)
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if not self.hidden or not all(isinstance(size, int) and 1 <= size <= 4096 for size in self.hidden):
            raise UserError(f"hidden={list(self.hidden)!r} should be sizes of layers from 1 to 4096, like [64, 64].")
