"""A drum kit, synthesised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.percussion import (
    BANDS,
    RING,
    Bands,
    Layer,
    Skin,
    bands,
    below_nyquist,
    decay,
    fade,
    mix,
    rise,
    strike,
    tilted,
)
from hitchain.blocks.dsp.voices import Voices, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Choice, Parameter, Settings
from hitchain.blocks.registry import register

FAMILIES = ("kick", "snare", "clap", "hat", "tom", "cymbal")


@dataclass(frozen=True)
class Piece:
    """One drum, as what sets it apart from the others of its family.

    Attributes:
        family: one of `FAMILIES`: how it is made, and whose knobs it follows.
        pitch, decay: factors on the family's.
        level: [dB] beside the family's.
        tilt: [dB/octave] beside the family's.
        body: 0 to 1: share of the ringing body against noise (snare), of metal against noise (hats, cymbals), of the
            overtone against the fundamental (toms).
        overtone: frequency ratio of a tom's second mode; 1.594 is an ideal membrane's.
        flash: decay of the bright half of a cymbal against the rest.
    """

    family: str
    pitch: float = 1.0
    decay: float = 1.0
    level: float = 0.0
    tilt: float = 0.0
    body: float = 0.0
    overtone: float = 1.594
    flash: float = 0.5


def _semitones(steps: float) -> float:
    return math.exp2(steps / 12.0)


CLOSED, OPEN = Piece("hat", body=0.45), Piece("hat", body=0.45)
_TOM = {note: Piece("tom", _semitones(step), 1.1 - 0.03 * step, body=0.2) for note, step in
        ((41, 0), (43, 3), (45, 6), (47, 9), (48, 12), (50, 15))}  # fmt: skip

KIT: dict[int, Piece] = {
    35: Piece("kick", _semitones(-2), 1.15),
    36: Piece("kick"),
    37: Piece("snare", 2.3, 0.3, -3.0, body=0.85),  # side stick
    38: Piece("snare"),
    39: Piece("clap"),
    40: Piece("snare", _semitones(3), 0.8, 0.0, 2.0, body=0.2),  # electric snare, also a rim shot
    **_TOM,
    42: CLOSED,
    44: Piece("hat", 1.0, 0.7, -6.0, -3.0, body=0.3),  # pedal: the foot alone
    46: OPEN,
    49: Piece("cymbal", body=0.25),
    51: Piece("cymbal", 1.0, 0.6, -3.0, 1.0, body=0.6, flash=0.3),  # ride
    52: Piece("cymbal", 1.0, 0.7, 0.0, -3.0, body=0.15),  # china
    53: Piece("cymbal", 1.0, 0.5, -2.0, -2.0, body=0.95, flash=0.4),  # ride bell
    54: Piece("hat", 1.0, 2.2, 1.0, 2.0, body=0.7),  # tambourine
    55: Piece("cymbal", 1.0, 0.35, -1.0, 3.0, body=0.2),  # splash
    56: Piece("tom", 6.8, 0.5, -4.0, body=0.45, overtone=1.48),  # cowbell: the two squares' 540 and 800 Hz
    57: Piece("cymbal", 1.0, 0.9, -1.0, 1.5, body=0.3),  # second crash
    58: Piece("hat", 1.0, 4.0, -4.0, -6.0, body=0.9),  # vibraslap
    59: Piece("cymbal", 1.0, 0.7, -3.0, -1.0, body=0.5, flash=0.3),  # second ride
    60: Piece("tom", 5.0, 0.25, -3.0),  # bongos
    61: Piece("tom", 3.8, 0.3, -3.0),
    62: Piece("tom", 4.0, 0.12, -2.0),  # congas: muted, open, low
    63: Piece("tom", 3.2, 0.5, -2.0),
    64: Piece("tom", 2.3, 0.6, -2.0),
    65: Piece("tom", 3.6, 0.7, -3.0, body=0.5),  # timbales
    66: Piece("tom", 2.7, 0.8, -3.0, body=0.5),
    67: Piece("tom", 11.0, 0.5, -6.0, body=0.4, overtone=1.5),  # agogos
    68: Piece("tom", 8.2, 0.5, -6.0, body=0.4, overtone=1.5),
    69: Piece("hat", 1.0, 0.8, -4.0, -1.0),  # cabasa
    70: Piece("hat", 1.0, 0.6, -6.0, 2.0),  # maracas
    71: Piece("tom", 28.0, 0.3, -10.0),  # whistles
    72: Piece("tom", 28.0, 0.8, -10.0),
    73: Piece("hat", 1.0, 1.0, -5.0, -5.0),  # guiros
    74: Piece("hat", 1.0, 3.0, -5.0, -5.0),
    75: Piece("tom", 30.0, 0.12, -6.0),  # claves
    76: Piece("tom", 11.0, 0.12, -4.0, body=0.3, overtone=2.6),  # wood blocks
    77: Piece("tom", 8.5, 0.14, -4.0, body=0.3, overtone=2.6),
    78: Piece("tom", 5.0, 0.3, -4.0),  # cuicas
    79: Piece("tom", 3.5, 0.5, -4.0),
    80: Piece("cymbal", 1.0, 0.2, -8.0, 4.0, body=1.0),  # triangles
    81: Piece("cymbal", 1.0, 0.8, -8.0, 4.0, body=1.0),
}  # fmt: skip
"""The drums by their General MIDI notes. What is not here sounds as the nearest that is."""

OPEN_HAT, CHOKING = 46, (42, 44)
CHOKE_TIME, CHOKE_AFTER = 0.025, 0.010
"""[s] In which a choked hat dies; and how much later than the open hat a stroke must be to choke it."""
SWEEP_TIME, SNARE_SWEEP, TOM_SWEEP, TOM_SWEEP_TIME = 0.022, 3.0, 6.0, 0.04
"""[s] and [semitones]: how the pitch of a struck skin falls."""
STROKES = {"kick": 0.012, "snare": 0.02, "tom": 0.05}
"""[s] Decay of the noise of the stroke: beater, stick on the head."""
CLAP_TIMES = (0.0, 0.011, 0.022, 0.033)
"""[s] When the hands meet; the last rings on in the room."""
SECOND_MODE = 1.83
"""Ratio of a snare drum's second strong mode to its first, 330 to 180 Hz (Rossing, Science of Percussion, 2000)."""


class Character(NamedTuple):
    """What sets a kit apart, as factors on the classic one's.

    Attributes:
        sweep: on how far a skin's pitch falls.
        stroke: on the noise of beater and stick.
        overtones: level of a membrane's overtones beside its fundamental, at full velocity.
        metal, pull: share of metal in hats and cymbals, and how far that replaces each piece's own.
    """

    sweep: float
    stroke: float
    overtones: float
    metal: float
    pull: float


KITS: dict[str, Character] = {
    "classic": Character(1.0, 1.0, 0.0, 0.5, 0.0),
    "808": Character(0.4, 0.4, 0.0, 0.97, 1.0),  # bridged-T resonators, and hats of six squares alone
    "909": Character(1.3, 1.4, 0.0, 0.1, 0.9),  # a fast sweep, a click, and hats of recorded cymbals
    "acoustic": Character(0.3, 1.7, 0.8, 0.3, 0.7),  # skins with their modes
}
OVERTONES = ((1.594, 0.5), (2.136, 0.35), (2.296, 0.3), (2.653, 0.2), (2.918, 0.15))
"""(ratio, amplitude) of a round membrane's next modes: Bessel's zeros (Rossing, Science of Percussion, 2000)."""

# Spectral shapes over the rows of `BANDS`, dark to bright; then how loud each voice is, for like loudness in a mix.
_NOISE = torch.tensor([float(source == "noise") for _, source in BANDS])
_METAL = 1.0 - _NOISE
_HIGH_PASS = torch.tensor([0.0, 0.0, 0.1, 0.4, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0])
_CLAP = torch.tensor([0.1, 1.0, 1.5, 0.8, 0.4, 0.0, 0.0, 0.2, 0.1, 0.0, 0.0])
_WIRES = torch.tensor([0.3, 0.8, 1.0, 1.0, 1.0, 0.0, 0.0, 0.9, 0.7, 0.0, 0.0])
_SKIN = torch.tensor([1.0, 1.0, 0.7, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
_ALL, _BRIGHT, _DARK = slice(3, 11), slice(7, 11), slice(2, 7)


@register("instruments/drums")
class Drums(Instrument):
    """A kit of six families, each a few closed-form functions of the time t since the hit, plus noise from tables.

        kick    membrane(t) decay(t) + click            tom    two membranes with decay(t) + stick
        snare   two modes and noise, + snap             clap   three bursts of noise, then one that decays
        hat     noise and metal, high-passed            cymbal the same in two halves, the bright one dying first

    Every decay is the time to -60 dB. "Metal" is the six square waves of the TR-808, band-limited. Velocity sets level
    as its power 1.5, and brightness. The kit says how far pitches fall, how loud strokes are, how much metal is in hats
    and cymbals, and whether skins have their overtones, which hard strokes bring out. A closed or pedal hat chokes the
    open hat that sounds. Durations of notes do not matter unless `gate` is raised; the pitch is the General MIDI drum
    note, to which there is no gradient.
    """

    plays_drums = True
    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Choice("kit", tuple(KITS), default="classic", description="what it is made after"),
        Parameter("kick_level", -24.0, 12.0, default=0.0, unit="dB"),
        Parameter("kick_pitch", 30.0, 120.0, default=52.0, unit="Hz", scale="log", description="at rest"),
        Parameter("kick_sweep", 0.0, 48.0, default=30.0, unit="semitones", description="fall of the pitch"),
        Parameter("kick_decay", 60.0, 2000.0, default=420.0, unit="ms", scale="log"),
        Parameter("kick_click", -48.0, 0.0, default=-20.0, unit="dB", description="the beater"),
        Parameter("snare_level", -24.0, 12.0, default=0.0, unit="dB", description="of snare and clap"),
        Parameter("snare_pitch", 110.0, 400.0, default=185.0, unit="Hz", scale="log", description="of the lower mode"),
        Parameter("snare_decay", 50.0, 1000.0, default=230.0, unit="ms", scale="log", description="of the wires"),
        Parameter("snare_tone", 0.0, 1.0, default=0.45, description="0 wires alone, 1 skin alone"),
        Parameter("snare_snap", -40.0, 6.0, default=-10.0, unit="dB", description="the stick"),
        Parameter("clap_decay", 50.0, 1500.0, default=280.0, unit="ms", scale="log"),
        Parameter("hat_level", -24.0, 12.0, default=0.0, unit="dB"),
        Parameter("hat_tone", -12.0, 12.0, default=0.0, unit="dB/octave", description="dark to bright"),
        Parameter("hat_decay_closed", 20.0, 500.0, default=90.0, unit="ms", scale="log"),
        Parameter("hat_decay_open", 100.0, 4000.0, default=800.0, unit="ms", scale="log"),
        Parameter("tom_level", -24.0, 12.0, default=0.0, unit="dB"),
        Parameter("tom_pitch", 50.0, 160.0, default=82.0, unit="Hz", scale="log", description="of the lowest tom"),
        Parameter("tom_decay", 80.0, 2000.0, default=480.0, unit="ms", scale="log"),
        Parameter("cymbal_level", -24.0, 12.0, default=0.0, unit="dB"),
        Parameter("cymbal_tone", -12.0, 12.0, default=0.0, unit="dB/octave", description="dark to bright"),
        Parameter("cymbal_decay", 200.0, 8000.0, default=1800.0, unit="ms", scale="log", description="of a crash"),
        Parameter(
            "velocity_to_brightness",
            0.0,
            18.0,
            default=6.0,
            unit="dB/octave",
            description="darkening of the softest hits",
        ),
        Parameter("gate", 0.0, 1.0, default=0.0, description="0 hits ring out, 1 they stop at the end of the note"),
    )
    probe: ClassVar[dict[str, float]] = {"gate": 0.5}
    presets: ClassVar = {
        "808": {
            "kit": "808",
            "kick_pitch": 46.0,
            "kick_sweep": 30.0,
            "kick_decay": 1100.0,
            "kick_click": -34.0,
            "kick_level": 1.0,
            "snare_pitch": 180.0,
            "snare_decay": 160.0,
            "snare_tone": 0.6,
            "snare_snap": -14.0,
            "hat_tone": 3.0,
            "hat_decay_closed": 60.0,
            "hat_decay_open": 450.0,
            "tom_decay": 420.0,
            "cymbal_tone": 2.0,
            "cymbal_decay": 1200.0,
            "velocity_to_brightness": 3.0,
        },
        "rock": {
            "kit": "acoustic",
            "kick_pitch": 62.0,
            "kick_sweep": 20.0,
            "kick_decay": 240.0,
            "kick_click": -10.0,
            "snare_pitch": 200.0,
            "snare_decay": 320.0,
            "snare_tone": 0.4,
            "snare_snap": -3.0,
            "snare_level": 1.5,
            "hat_tone": -1.0,
            "hat_decay_closed": 110.0,
            "tom_pitch": 92.0,
            "tom_decay": 750.0,
            "cymbal_decay": 3200.0,
            "velocity_to_brightness": 9.0,
        },
        "lo-fi": {
            "kick_pitch": 55.0,
            "kick_sweep": 18.0,
            "kick_decay": 200.0,
            "kick_click": -26.0,
            "snare_pitch": 165.0,
            "snare_decay": 140.0,
            "snare_tone": 0.55,
            "snare_snap": -20.0,
            "hat_tone": -9.0,
            "hat_level": -4.0,
            "hat_decay_closed": 45.0,
            "hat_decay_open": 250.0,
            "cymbal_tone": -9.0,
            "cymbal_level": -5.0,
            "cymbal_decay": 700.0,
            "velocity_to_brightness": 12.0,
        },
    }

    def tail(self, settings: Settings) -> float:
        lasting = (
            1.15 * settings["kick_decay"],
            settings["snare_decay"],
            settings["clap_decay"] + 60.0,
            4.0 * settings["hat_decay_closed"],
            settings["hat_decay_open"],
            1.1 * settings["tom_decay"],
            settings["cymbal_decay"],
        )
        return RING * max(float(value.detach().max()) for value in lasting) / 1000.0 + 0.1

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        dtype = settings["kick_level"].dtype
        kit = _Kit.of(notes, dtype)
        played = _Played(notes.with_(duration=torch.zeros_like(notes.duration)), notes.duration, kit, settings, self)
        audio = torch.zeros(
            notes.batch, 1, round(notes.length * self.sample_rate), dtype=dtype, device=notes.onset.device
        )
        for index, family in enumerate(FAMILIES):
            chosen = kit.family == index
            if bool(chosen.any()):
                voice, seconds = played.family(family)
                tail = _lasting(family, seconds)
                audio = audio + render(played.notes, self.sample_rate, tail, voice, dtype, chosen, ragged=True)
        return audio


def _lasting(family: str, seconds: Tensor) -> Tensor:
    """[s] until a hit is silent: its decay's end, or that of the stroke's own noise."""
    if family == "clap":
        return RING * seconds + CLAP_TIMES[-1]
    return RING * seconds.clamp_min(STROKES.get(family, 0.0))


@dataclass(frozen=True)
class _Kit:
    """Each note's piece as tensors (batch, notes)."""

    number: Tensor
    family: Tensor
    pitch: Tensor
    decay: Tensor
    level: Tensor
    tilt: Tensor
    body: Tensor
    overtone: Tensor
    flash: Tensor

    @staticmethod
    def of(notes: Notes, dtype: torch.dtype) -> _Kit:
        number = torch.round(notes.pitch.detach()).clamp(0, 127).long()
        fields = {key: column.to(notes.onset.device)[number] for key, column in _columns().items()}
        family = fields.pop("family").long()
        return _Kit(number, family, **{key: value.to(dtype) for key, value in fields.items()})


@lru_cache(maxsize=1)
def _columns() -> dict[str, Tensor]:
    pieces = [KIT[min(KIT, key=lambda known: (abs(known - note), known))] for note in range(128)]
    names = ("pitch", "decay", "level", "tilt", "body", "overtone", "flash")
    columns = {name: torch.tensor([getattr(piece, name) for piece in pieces]) for name in names}
    columns["family"] = torch.tensor([FAMILIES.index(piece.family) for piece in pieces])
    return columns


@dataclass(frozen=True)
class _Played:
    """One call of the kit: the families' voices."""

    notes: Notes
    held: Tensor
    kit: _Kit
    settings: Settings
    block: Drums

    def family(self, name: str) -> tuple[Callable[[Voices], Tensor], Tensor]:
        """The voice function of a family, and the decay [s] of its notes: (batch, notes)."""
        decays = {
            "kick": self.settings["kick_decay"],
            "snare": self.settings["snare_decay"],
            "clap": self.settings["clap_decay"],
            "hat": self.settings["hat_decay_closed"],
            "tom": self.settings["tom_decay"],
            "cymbal": self.settings["cymbal_decay"],
        }
        seconds = decays[name][:, None] * self.kit.decay / 1000.0
        if name == "hat":
            opened = (self.settings["hat_decay_open"] / 1000.0)[:, None].expand_as(seconds)
            seconds = torch.where(self.kit.number == OPEN_HAT, opened, seconds)
        group = "snare" if name == "clap" else name
        make: Callable[[_Hits], Tensor] = getattr(self, f"_{name}")

        def voice(voices: Voices) -> Tensor:
            hits = _Hits(voices, self, seconds, f"{group}_level")
            return self._damped(hits, make(hits))

        return voice, seconds

    def _damped(self, hits: _Hits, sound: Tensor) -> Tensor:
        """The sound, cut at the note's end as far as `gate` says; open hats cut by the next stroke that chokes."""
        gate = hits.knob("gate")
        if gate.requires_grad or bool((gate > 0).any()):
            cut = fade(hits.time - hits.of(self.held)[:, None], CHOKE_TIME)
            sound = sound * (1.0 - gate[:, None] * (1.0 - cut))
        if bool((hits.number == OPEN_HAT).any()):
            until, strength = (hits.of(value) for value in self._choke())
            choked = fade(hits.time - until[:, None], CHOKE_TIME)
            sound = sound * (1.0 - strength[:, None] * (1.0 - choked))
        return sound

    def _choke(self) -> tuple[Tensor, Tensor]:
        """[s] from each note to the next stroke that chokes, and that stroke's mask (0 where there is none)."""
        onset, number = self.notes.onset, self.kit.number
        choking = ((number == CHOKING[0]) | (number == CHOKING[1])) & (self.notes.mask > 0)
        times = torch.where(choking, onset.detach().double(), math.inf)
        ordered, order = times.sort(dim=1)
        place = torch.searchsorted(ordered, onset.detach().double() + CHOKE_AFTER, right=True).clamp_max(
            onset.shape[1] - 1
        )
        index = order.gather(1, place)
        there = ordered.gather(1, place).isfinite() & (number == OPEN_HAT)
        there = there & (ordered.gather(1, place) > onset.detach().double() + CHOKE_AFTER)
        until = torch.where(there, onset.gather(1, index) - onset, 0.0)
        return until, torch.where(there, self.notes.mask.gather(1, index), 0.0)

    def _kick(self, hits: _Hits) -> Tensor:
        pitch = hits.knob("kick_pitch") * hits.piece("pitch")
        modes = [(pitch, torch.full_like(pitch, 0.62))]
        skin = hits.skin(modes, hits.knob("kick_sweep"), SWEEP_TIME)
        return hits.struck(skin, [], "kick", _WIRES * _NOISE, 0.62 * to_gain(hits.knob("kick_click")))

    def _tom(self, hits: _Hits) -> Tensor:
        pitch, share = hits.knob("tom_pitch") * hits.piece("pitch"), hits.piece("body")
        modes = [(pitch, 0.5 * (1.0 - 0.5 * share)), (pitch * hits.piece("overtone"), 0.5 * share)]
        skin = hits.skin(modes, torch.full_like(pitch, TOM_SWEEP), TOM_SWEEP_TIME)
        return hits.struck(skin, [], "tom", _SKIN, torch.full_like(pitch, 0.075))

    def _snare(self, hits: _Hits) -> Tensor:
        tone = hits.knob("snare_tone")
        tone = (tone + (1.0 - tone) * hits.piece("body")) * (math.pi / 2.0)
        pitch = hits.knob("snare_pitch") * hits.piece("pitch")
        modes = [(pitch, 0.42 * torch.sin(tone)), (pitch * SECOND_MODE, 0.24 * torch.sin(tone))]
        skin = hits.skin(modes, torch.full_like(pitch, SNARE_SWEEP), SWEEP_TIME, shortened=0.7)
        wires = hits.noise(_WIRES, 0.25 * torch.cos(tone), hits.seconds, tilt=-1.5)
        return hits.struck(skin, [wires], "snare", _WIRES, 0.25 * to_gain(hits.knob("snare_snap")), tilt=3.0)

    def _clap(self, hits: _Hits) -> Tensor:
        """Three hands, 11 ms apart, and the room after the fourth: bursts (x / 2a)^2 exp(2 - x / a), a = 1.2 ms."""
        room = hits.decay(late=CLAP_TIMES[-1]) * rise(hits.time - CLAP_TIMES[-1], 0.001)
        for late in CLAP_TIMES[:-1]:
            x = (hits.time - late).clamp_min(0.0) / 0.0012
            room = room + (0.5 * x).square() * torch.exp(2.0 - x)
        return hits.heard(hits.noise(_CLAP, torch.full_like(hits.velocity, 0.3), hits.seconds)) * room

    def _hat(self, hits: _Hits) -> Tensor:
        return hits.strike(None, [hits.metal(_ALL, hits.knob("hat_tone"), 0.11, hits.seconds)], 0.0007)

    def _cymbal(self, hits: _Hits) -> Tensor:
        tone = hits.knob("cymbal_tone")
        dark = hits.metal(_DARK, tone, 0.15, hits.seconds)
        bright = hits.metal(_BRIGHT, tone, 0.15, hits.seconds * hits.piece("flash"))
        return hits.strike(None, [dark, bright], 0.0015)


class _Hits:
    """Some voices of one family, with what their functions need. Every sound comes with the hit's gain."""

    def __init__(self, voices: Voices, played: _Played, seconds: Tensor, level: str) -> None:
        self.voices, self.played = voices, played
        self.sample_rate = played.block.sample_rate
        self.dtype = played.settings["kick_level"].dtype
        self.number = voices.of(played.kit.number)
        self.seconds = voices.of(seconds)
        self.velocity = self.of(played.notes.velocity)
        self.since = voices.since(played.notes.onset)
        self.bands: Bands = bands(int(played.settings.get(SEED, 0)), self.sample_rate)
        loudness = to_gain(self.knob(level) + self.piece("level"))
        self.gain = loudness * self.velocity**1.5 * self.of(played.notes.mask)

    @property
    def time(self) -> Tensor:
        """[s] since the hit: (voices, span)."""
        steps = torch.arange(self.voices.span, dtype=self.dtype, device=self.since.device) / self.sample_rate
        return self.since.to(self.dtype)[:, None] + steps

    def of(self, value: Tensor) -> Tensor:
        """Each voice's own value (voices,), in the settings' dtype."""
        return self.voices.of(value).to(self.dtype)

    def knob(self, name: str) -> Tensor:
        return self.of(self.played.settings[name])

    def piece(self, name: str) -> Tensor:
        return self.of(getattr(self.played.kit, name))

    def kit(self, values: list[float]) -> Tensor:
        """The blend of each kit's value by its weight: (voices,)."""
        weights = self.played.settings["kit"][self.voices.row].to(self.dtype)
        return weights @ weights.new_tensor(values)

    def decay(self, late: float) -> Tensor:
        """The family's decay, from `late` [s] on: (voices, span)."""
        return decay(self.since - late, self.seconds, self.voices.span, self.sample_rate)

    def strike(self, skin: Skin | None, layers: list[Layer], attack: float = 0.0005) -> Tensor:
        """(voices, span)."""
        return strike(self.bands, self.voices, self.since, skin, layers, attack)

    def struck(
        self, skin: Skin, layers: list[Layer], family: str, shape: Tensor, level: Tensor, tilt: float = 0.0
    ) -> Tensor:
        """The skin and the layers, and the short noise of the stroke that made them sound."""
        level = level * self.kit([kit.stroke for kit in KITS.values()])
        seconds = torch.full_like(self.velocity, STROKES[family])
        return self.strike(skin, [*layers, self.noise(shape, level, seconds, tilt, stream=1)])

    def skin(
        self,
        modes: Sequence[tuple[Tensor, Tensor]],
        sweep: Tensor,
        sweep_time: float,
        shortened: float = 1.0,
    ) -> Skin:
        """Modes (pitch, amplitude beside the hit's gain), silent where they would begin above the Nyquist frequency.

        In an acoustic kit the first one's overtones sound too, more in hard strokes than in soft ones.
        """
        sweep = sweep * self.kit([kit.sweep for kit in KITS.values()])
        richness = self.kit([kit.overtones for kit in KITS.values()]) * self.velocity
        if richness.requires_grad or bool(richness.any()):
            (pitch, weight), *_ = modes
            modes = [*modes, *((pitch * ratio, weight * richness * height) for ratio, height in OVERTONES)]
            modes = [(pitch, weight / (1.0 + 0.5 * richness)) for pitch, weight in modes]  # about as loud as without
        weights = []
        for pitch, weight in modes:
            audible = below_nyquist(pitch * torch.exp2(sweep / 12.0), self.sample_rate)
            weights.append(self.gain * audible * weight)
        pitches = torch.stack([pitch for pitch, _ in modes], dim=1)
        return Skin(pitches, torch.stack(weights, dim=1), sweep, sweep_time, self.seconds * shortened)

    def noise(self, shape: Tensor, level: Tensor, seconds: Tensor, tilt: float = 0.0, stream: int = 0) -> Layer:
        """Noise in bands of the given shape (rows,), of the hit's gain times `level`."""
        used = tuple(torch.nonzero(shape).flatten().tolist())
        return self._layer(shape.to(self.velocity), used, level, tilt + self._darkening(), seconds, stream)

    def metal(self, rows: slice, tone: Tensor, level: float, seconds: Tensor) -> Layer:
        """What is in `rows` of high-passed noise and metal that together have the hit's gain times `level`."""
        pull = self.kit([kit.pull for kit in KITS.values()])
        drawn = self.kit([kit.pull * kit.metal for kit in KITS.values()])
        share = ((1.0 - pull) * self.piece("body") + drawn)[:, None].clamp(1e-6, 1.0 - 1e-6)  # no infinite slope
        shape = _HIGH_PASS.to(share) * (_NOISE.to(share) * (1.0 - share).sqrt() + _METAL.to(share) * share.sqrt())
        used = tuple(range(len(BANDS))[rows])
        return self._layer(shape, used, torch.full_like(self.velocity, level), tone + self._darkening(), seconds, 0)

    def heard(self, layer: Layer) -> Tensor:
        """A layer without its decay: (voices, span)."""
        rows = slice(min(layer.used), max(layer.used) + 1)
        return mix(self.bands, layer.weights, self.voices, layer.position, rows, self.voices.span)

    def _darkening(self) -> Tensor:
        return self.piece("tilt") - self.knob("velocity_to_brightness") * (1.0 - self.velocity)

    def _layer(
        self, shape: Tensor, used: tuple[int, ...], level: Tensor, tilt: Tensor, seconds: Tensor, stream: int
    ) -> Layer:
        weights = tilted(self.bands, shape, tilt) * (self.gain * level)[:, None]
        return Layer(weights, used, self.voices.noise_position(self.played.notes, stream=stream), seconds)
