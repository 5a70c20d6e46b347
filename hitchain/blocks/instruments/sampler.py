"""The sampler."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp import filters
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.envelopes import adsr
from hitchain.blocks.dsp.interpolation import read_along
from hitchain.blocks.dsp.section_filter import filter_sections
from hitchain.blocks.dsp.voices import Voices, allocate, overlap_add
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.blocks.samples.prepared import KEEP, Prepared, prepare
from hitchain.blocks.samples.reading import read_zones
from hitchain.blocks.samples.zone import Zone, loudness
from hitchain.errors import UserError, nearest

SHELF = 1500.0
"""[Hz] From where on brightness raises or lowers."""
KEPT = 1 << 26
"""Samples of recordings made ready that are kept for the next time (256 MiB)."""


@register("instruments/sampler")
class Sampler(Instrument):
    """Recordings played at any pitch: a sound file, a folder of them, an SFZ file or a SoundFont 2 preset.

        y(t) = gain * velocity gain * adsr(t) * shelf[recording(start_offset + t 2^((pitch + tune - root) / 12))]

    A note plays the zones that its key and velocity (rounded) fall into; outer keys play the outermost. A recording is
    read between its samples by a 64-tap Kaiser-windowed sinc (`dsp/interpolation`), and what would alias at the pitch
    played is taken out before, so transposing is clean both ways. Loops repeat seamlessly. With `keep=duration` a note
    runs its course in the same time at every pitch (a phase vocoder stretches the recording as much as the pitch
    shortens it), with `duration_and_formants` its formants stay in place too; loops then go on for 20 s. The file's
    attack and release are added to the knobs'. The level is set so that the loudest 400 ms of a note are at -18 dBFS.

    Args:
        file: a WAV, FLAC, OGG, MP3, SFZ or SF2 file; a small shipped sample by default.
        folder: a folder of sound files, their notes in their names (`docs/sampler.md`).
        program: of a SoundFont: its name, its number, or BANK:NUMBER.
        root: [MIDI semitones] the pitch of a single sound file; else what the file says, or what is heard in it.
        keep: what stays when the pitch moves: "none", "duration" or "duration_and_formants".

    Raises:
        UserError: the file is missing, malformed or too large, or reaches outside its folder.
    """

    parameters = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="of a note at full velocity"),
        Parameter("tune", -12.0, 12.0, default=0.0, unit="semitones", description="of all notes"),
        Parameter("start_offset", 0.0, 500.0, default=0.0, unit="ms", description="of the recording that is skipped"),
        Parameter("attack", 1.0, 2000.0, default=1.0, unit="ms", scale="log", description="beside the file's own"),
        Parameter("release", 5.0, 5000.0, default=150.0, unit="ms", scale="log", description="beside the file's own"),
        Parameter("brightness", -24.0, 12.0, default=0.0, unit="dB", description="shelf from 1.5 kHz up"),
        Parameter("velocity_amount", 0.0, 1.0, default=0.8, description="0 all notes alike, 1 level follows velocity"),
    )
    presets: ClassVar = {
        "as recorded": {"attack": 1.0, "release": 200.0, "velocity_amount": 0.8},
        "soft pad": {"attack": 350.0, "release": 1200.0, "brightness": -9.0, "start_offset": 30.0},
        "octave bells": {"tune": 12.0, "brightness": 4.0, "release": 900.0},
    }
    probe: ClassVar[dict[str, float]] = {"start_offset": 3.0, "velocity_amount": 0.5, "brightness": 3.0}

    def __init__(
        self,
        sample_rate: int = 44100,
        file: str | None = None,
        folder: str | None = None,
        program: str | int = 0,
        root: float | None = None,
        keep: str = "none",
    ) -> None:
        super().__init__(sample_rate)
        if keep not in KEEP:
            raise UserError(f"instruments/sampler: keep={keep!r}; {nearest(str(keep), KEEP)}")
        if root is not None and (isinstance(root, bool) or not isinstance(root, int | float) or not 0 <= root <= 127):
            raise UserError(f"instruments/sampler: root={root!r} should be a MIDI note from 0 to 127.")
        self.keep = keep
        self.zones = read_zones(file, folder, program, root)
        self.stereo = any(zone.stereo for zone in self.zones)
        self.loudness = loudness(self.zones)
        self._ready: OrderedDict[Hashable, Prepared] = OrderedDict()

    def tail(self, settings: Settings) -> float:
        own = max(zone.release for zone in self.zones)
        whole = max((4.0 * zone.seconds for zone in self.zones if zone.once), default=0.0)
        return max(float(settings["release"].detach().max()) / 1000.0 + own, whole)

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        level = settings["level"]
        shape = notes.batch, round(notes.length * self.sample_rate)
        sides = [torch.zeros(shape, dtype=level.dtype, device=level.device) for _ in range(2 if self.stereo else 1)]
        key = torch.round(notes.pitch.detach()).clamp(*self._keys())
        hardness = torch.round(notes.velocity.detach() * 127.0).clamp(0.0, 127.0)
        for zone in self.zones:
            mine = (key >= zone.keys[0]) & (key <= zone.keys[1])
            mine &= (hardness >= zone.velocities[0]) & (hardness <= zone.velocities[1]) & (notes.mask.detach() > 0)
            if not bool(mine.any()):
                continue
            for chosen, prepared in self._chosen(zone, mine, notes, settings):
                for voices in allocate(notes, self.sample_rate, _tail(zone, notes, settings), chosen):
                    played = self._voice(zone, prepared, voices, notes, settings)
                    for side, onto in enumerate(sides):
                        sides[side] = overlap_add(onto, self._side(zone, played, side), voices)
        audio = torch.stack(sides, dim=1)
        shelf = filters.high_shelf(
            torch.full_like(level, SHELF).double(),
            settings["brightness"].double(),
            torch.full_like(level, math.sqrt(0.5)).double(),
            self.sample_rate,
        )
        return filter_sections(audio, shelf[0][:, None], shelf[1][:, None])

    def _chosen(self, zone: Zone, mine: Tensor, notes: Notes, settings: Settings) -> Iterator[tuple[Tensor, Prepared]]:
        """Of a zone's notes, bool (batch, notes), those that need its recording made ready alike, with that."""
        transposed = self._transposition(zone, notes.pitch, settings["tune"][:, None]).detach()
        speed = transposed + 12.0 * math.log2(zone.rate / self.sample_rate)
        limit = torch.round(speed).clamp(0.0, 96.0).long()
        moved = torch.round(transposed).long() if self.keep != "none" else torch.zeros_like(limit)
        both = (limit * 1024 + moved + 512)[mine]
        for code in torch.unique(both).tolist():
            semitones, change = code // 1024, code % 1024 - 512
            chosen = mine & (limit == semitones) & (moved == change)
            yield chosen, self._made_ready(zone, semitones, change, settings["level"])

    def _keys(self) -> tuple[float, float]:
        """The keys between which there are zones: beyond, the nearest plays."""
        return min(zone.keys[0] for zone in self.zones), max(zone.keys[1] for zone in self.zones)

    @staticmethod
    def _transposition(zone: Zone, pitch: Tensor, tune: Tensor) -> Tensor:
        """Semitones from the recording to what is played."""
        return zone.tracking * (pitch.double() - zone.root) + tune.double()

    def _made_ready(self, zone: Zone, semitones: int, change: int, like: Tensor) -> Prepared:
        """The recording for these pitches, from those kept or made now."""
        recording = zone.audio.data_ptr(), zone.audio.shape[-1], zone.loop, zone.while_held  # zones may share one
        key = recording, semitones, change, like.dtype, like.device
        if key not in self._ready:
            made = prepare(zone, semitones, change, self.keep)
            self._ready[key] = Prepared(made.audio.to(like), made.origin, made.loop, made.scale)
            while len(self._ready) > 1 and sum(item.audio.numel() for item in self._ready.values()) > KEPT:
                self._ready.popitem(last=False)
        self._ready.move_to_end(key)
        return self._ready[key]

    def _voice(self, zone: Zone, prepared: Prepared, voices: Voices, notes: Notes, settings: Settings) -> Tensor:
        """(voices, channels, span)."""
        knob = {name: voices.of(settings[name]) for name in (parameter.name for parameter in self.parameters)}
        since, duration = voices.since(notes.onset), voices.of(notes.duration)
        moved = self._transposition(zone, voices.of(notes.pitch), knob["tune"])
        step = torch.exp2(moved / 12.0) * (zone.rate / self.sample_rate)
        skipped = knob["start_offset"].double() * (zone.rate / 1000.0) + zone.offset
        begin = prepared.origin + prepared.scale * skipped + since * self.sample_rate * step
        let_go = None
        if zone.while_held:
            let_go = torch.ceil((duration.double() - since).detach() * self.sample_rate).clamp_min(0.0).long()
        played = read_along(prepared.audio, begin, step, voices.count, voices.span, prepared.loop, let_go)
        held = torch.full_like(duration, 1e6) if zone.once else duration
        sustain = torch.full_like(knob["level"], zone.sustain)
        level = adsr(
            since,
            held,
            knob["attack"] / 1000.0 + zone.attack,
            torch.full_like(sustain, zone.decay),
            sustain,
            knob["release"] / 1000.0 + zone.release,
            self.sample_rate,
            voices.span,
        )
        loudness = 1.0 - knob["velocity_amount"] * (1.0 - voices.of(notes.velocity).to(level.dtype))
        gain = to_gain(knob["level"]) * loudness * voices.of(notes.mask).to(level.dtype) * (self.loudness * zone.gain)
        return played * (gain[:, None] * level)[:, None]

    def _side(self, zone: Zone, played: Tensor, side: int) -> Tensor:
        """One channel of the output, (voices, span): panned by constant power, the middle being as loud as recorded."""
        channel = played[:, min(side, played.shape[1] - 1)]
        if not self.stereo or zone.pan == 0.0:
            return channel
        angle = (1.0 + (zone.pan if side else -zone.pan)) * (math.pi / 4.0)
        return channel * (math.sqrt(2.0) * math.sin(angle))


def _tail(zone: Zone, notes: Notes, settings: Settings) -> Tensor | float:
    """[s] that a zone sounds after its note's end."""
    if zone.once:  # to the end of the recording, up to two octaves down
        return (4.0 * zone.seconds - notes.duration.detach().double()).clamp_min(0.0)
    return settings["release"] / 1000.0 + zone.release
