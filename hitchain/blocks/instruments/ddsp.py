"""An instrument learnt from recordings."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.ddsp import decoder as decoders
from hitchain.blocks.ddsp.decoder import FRAME_RATE, partials
from hitchain.blocks.dsp import harmonic_bank, noise
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain
from hitchain.blocks.dsp.envelopes import adsr
from hitchain.blocks.dsp.fft import fast_length
from hitchain.blocks.dsp.voices import Voices, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Parameter, Settings
from hitchain.blocks.registry import register

ONSET_DROP, RELEASE_DROP = 30.0, 50.0
"""[dB] How much softer a note begins, and ends, than it is held."""
LEGATO = 0.05
"""[s] A note glides from the one before where that ended no longer ago."""
VIBRATO_DELAY = 0.25
"""[s] in which the vibrato fades in (time constant)."""
ROOM_SEED, ROOM_LENGTH = 20_200, 0.9
"""The noise that is the room, and how long it lasts [s]: within what a song renders before a window."""
OCTAVE_STEP = 20.0 * math.log10(2.0)


@register("instruments/ddsp")
class Ddsp(Instrument):
    """A network plays: from pitch and loudness to harmonics and filtered noise, as it was taught by recordings.

        (A, c, g)(t) = decoder(pitch, loudness up to t)
        y(t) = sum over k of A c[k] sin(2 pi k phase(t)) + noise under the spectrum g,  then a room

    After the decoder of DDSP (Engel et al., ICLR 2020). Its weights are frozen; only the knobs move. A note's loudness
    follows its velocity, rises within the attack, sinks by the decay and dies away in the release; its pitch glides
    from a note that ends where it begins, and swings by the vibrato. Each note is a voice of its own, so chords play
    too, though the recordings had one note at a time. `hitchain train-instrument audio=FOLDER` teaches it yours.

    Args:
        instrument: a shipped one ("trumpet", "bass"), a .safetensors file, or a run folder of train-instrument.

    Raises:
        UserError: there is no such instrument, or its file is damaged.
    """

    parameters = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB"),
        Parameter("pitch", -12.0, 12.0, default=0.0, unit="semitones", description="of all notes"),
        Parameter("loudness", -24.0, 12.0, default=0.0, unit="dB", description="how hard it is played; alters timbre"),
        Parameter("velocity_range", 0.0, 40.0, default=18.0, unit="dB", description="from hardest to softest"),
        Parameter("attack", 5.0, 500.0, default=25.0, unit="ms", scale="log"),
        Parameter("decay", 0.0, 40.0, default=2.0, unit="dB/s", description="how a held note sinks"),
        Parameter("release", 10.0, 1000.0, default=90.0, unit="ms", scale="log"),
        Parameter("portamento", 1.0, 300.0, default=12.0, unit="ms", scale="log", description="glide between notes"),
        Parameter("vibrato_rate", 0.5, 10.0, default=5.2, unit="Hz", scale="log"),
        Parameter("vibrato_depth", 0.0, 100.0, default=8.0, unit="cents"),
        Parameter("brightness", -12.0, 12.0, default=0.0, unit="dB/octave", description="tilt of the harmonics"),
        Parameter("noise_level", -40.0, 12.0, default=0.0, unit="dB", description="of breath, bow or pick"),
        Parameter("room", -60.0, 0.0, default=-24.0, unit="dB", description="level of the room"),
        Parameter("room_decay", 0.1, 2.0, default=0.5, unit="s", scale="log", description="time to -60 dB"),
    )
    presets: ClassVar = {
        "soft and close": {"loudness": -9.0, "room": -40.0, "attack": 60.0, "vibrato_depth": 15.0},
        "blaring": {"loudness": 6.0, "brightness": 2.0, "attack": 12.0, "room": -18.0},
        "airy": {"noise_level": 9.0, "brightness": -3.0, "loudness": -6.0, "vibrato_depth": 20.0},
    }
    probe: ClassVar[dict[str, float]] = {"vibrato_depth": 30.0, "room": -10.0, "portamento": 30.0, "decay": 10.0}

    def __init__(self, sample_rate: int = 44100, instrument: str = "trumpet") -> None:
        super().__init__(sample_rate)
        self.decoder = decoders.frozen(decoders.load(decoders.find(str(instrument))))
        self.about = self.decoder.about

    def tail(self, settings: Settings) -> float:
        glide = 5.0 * float(settings["portamento"].detach().max()) / 1000.0
        return max(float(settings["release"].detach().max()) / 1000.0 + ROOM_LENGTH, glide + LEGATO)

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        level = settings["level"]
        seed = int(settings.get(SEED, 0))
        tables = harmonic_bank.noise_bands(seed, self.about.bands, self.sample_rate, level.dtype).to(level.device)
        earlier = self._earlier(notes)
        notes = notes.with_(
            onset=notes.onset.double() + earlier / self.sample_rate, length=notes.length + earlier / self.sample_rate
        )
        before = _before(notes)

        def voice(voices: Voices) -> Tensor:
            return self._voice(voices, notes, before, settings, tables)

        dry = render(notes, self.sample_rate, settings["release"] / 1000.0, voice, level.dtype, ragged=True)
        return self._in_room(dry, settings)[..., earlier:] * to_gain(level)[:, None, None]

    def _earlier(self, notes: Notes) -> int:
        """Samples that are played before the window and dropped, so that the room has heard what it still answers."""
        first = float(torch.where(notes.mask > 0, notes.onset, 0.0).detach().min()) if notes.count else 0.0
        return math.ceil(min(ROOM_LENGTH, max(0.0, -first)) * self.sample_rate)

    def _voice(self, voices: Voices, notes: Notes, before: Tensor, settings: Settings, tables: Tensor) -> Tensor:
        """(voices, span)."""
        knob = {name: voices.of(settings[name]) for name in (parameter.name for parameter in self.parameters)}
        since, duration = voices.since(notes.onset), voices.of(notes.duration)
        last = float((since + voices.count / self.sample_rate).detach().max())
        time = torch.arange(max(2, math.ceil(last * FRAME_RATE) + 2), dtype=torch.float64, device=since.device)
        time = time / FRAME_RATE
        pitch = self._pitch(voices, notes, before, knob, time)
        loudness = self._loudness(voices.of(notes.velocity).to(knob["level"].dtype), duration, knob, time)
        hertz = midi_to_hz(pitch)
        amplitude, hiss = self.timbre(pitch, loudness, hertz, knob)
        place = voices.noise_position(notes)
        audio = harmonic_bank.sound(
            since, hertz, amplitude, hiss, tables, place, voices.count, voices.span, FRAME_RATE, self.sample_rate
        )
        ends = torch.full_like(knob["level"], 0.003), torch.ones_like(knob["level"]), knob["release"] / 1000.0
        fade = adsr(since, duration, ends[0], ends[1], ends[1], ends[2], self.sample_rate, voices.span)
        return audio * fade * voices.of(notes.mask).to(audio.dtype)[:, None]

    def timbre(self, pitch: Tensor, loudness: Tensor, hertz: Tensor, knob: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What the decoder makes of pitch and loudness (voices, frames) under the timbre knobs: harmonics, noise."""
        kind = loudness.dtype
        self.decoder.to(kind)
        total, shares, hiss = self.decoder(decoders.with_history(pitch.to(kind)), decoders.with_history(loudness))
        octave = torch.log2(torch.arange(1, shares.shape[-1] + 1, dtype=kind, device=shares.device))
        tilted = shares * torch.exp((knob["brightness"] * (math.log(10.0) / 20.0))[:, None, None] * (octave - 1.5))
        kept = shares.square().sum(dim=-1, keepdim=True) / tilted.square().sum(dim=-1, keepdim=True)
        amplitude = partials(total, tilted * torch.sqrt(kept), hertz, self.sample_rate)
        return amplitude, hiss * to_gain(knob["noise_level"])[:, None, None]

    def _pitch(self, voices: Voices, notes: Notes, before: Tensor, knob: dict[str, Tensor], time: Tensor) -> Tensor:
        """[MIDI semitones], float64 (voices, frames)."""
        own = voices.of(notes.pitch).double()
        glide = (voices.of(before).double() - own)[:, None] * torch.exp(
            -1000.0 * time / knob["portamento"].double()[:, None]
        )
        swing = torch.sin(2.0 * math.pi * knob["vibrato_rate"].double()[:, None] * time)
        depth = knob["vibrato_depth"].double()[:, None] / 100.0 * (1.0 - torch.exp(-time / VIBRATO_DELAY))
        return (own + knob["pitch"].double())[:, None] + glide + depth * swing

    def _loudness(self, velocity: Tensor, duration: Tensor, knob: dict[str, Tensor], time: Tensor) -> Tensor:
        """[dB] (voices, frames)."""
        time = time.to(velocity.dtype)
        peak = self.about.loud + knob["loudness"] - knob["velocity_range"] * (1.0 - velocity)
        begun = torch.exp(-4.0 * time / (knob["attack"] / 1000.0)[:, None])
        gone = ((time - duration.to(velocity.dtype)[:, None]) / (knob["release"] / 1000.0)[:, None]).clamp(0.0, 1.0)
        return peak[:, None] - ONSET_DROP * begun - knob["decay"][:, None] * time - RELEASE_DROP * gone

    def _in_room(self, audio: Tensor, settings: Settings) -> Tensor:
        """Noise that decays exponentially, after 8 ms, of unit energy: added at the room's level."""
        samples = round(ROOM_LENGTH * self.sample_rate)
        time = torch.arange(samples, dtype=audio.dtype, device=audio.device) / self.sample_rate
        white = noise.table(ROOM_SEED)[:samples].to(audio) * (time >= 0.008) * (1.0 - time / ROOM_LENGTH)
        shape = torch.exp(-math.log(1000.0) * time / settings["room_decay"][:, None]) * white
        shape = shape / shape.square().sum(dim=1, keepdim=True).sqrt()
        n_fft = fast_length(audio.shape[-1] + samples)
        spectrum = torch.fft.rfft(audio, n=n_fft) * torch.fft.rfft(shape, n=n_fft)[:, None]
        wet: Tensor = torch.fft.irfft(spectrum, n=n_fft)[..., : audio.shape[-1]]
        return audio + wet * to_gain(settings["room"])[:, None, None]


def _before(notes: Notes) -> Tensor:
    """The pitch from which each note glides, (batch, notes): that of the latest note it is tied to, or its own."""
    onset, end = notes.onset.detach(), (notes.onset + notes.duration).detach()
    earlier = onset[:, None, :] < onset[:, :, None] - LEGATO  # [item, note, candidate]
    joined = earlier & (end[:, None, :] > onset[:, :, None] - LEGATO) & (notes.mask.detach() > 0)[:, None, :]
    latest = torch.where(joined, onset[:, None, :], -torch.inf)
    if notes.count == 0:
        return notes.pitch
    chosen = latest.argmax(dim=-1)
    return torch.where(joined.any(dim=-1), notes.pitch.gather(1, chosen), notes.pitch)
