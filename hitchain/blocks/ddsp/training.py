"""Training an instrument on recordings of one note at a time: `hitchain train-instrument audio=FOLDER`.

The pitch and loudness of the recordings are measured once. Then the decoder plays stretches of them from those alone,
and is corrected by the multi-resolution STFT loss of auraloss (Steinmetz and Reiss, 2020) between what it plays and
what was recorded. The end of every recording is held out: it is never trained on, and its loss is what is reported.
Every random choice follows from the seed and the step, so a run that was stopped goes on to the same weights.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitchain.blocks.ddsp import features
from hitchain.blocks.ddsp.decoder import (
    FRAME_RATE,
    HISTORY,
    About,
    Decoder,
    load_tensors,
    partials,
    save,
    save_tensors,
    with_history,
)
from hitchain.blocks.dsp import harmonic_bank, noise
from hitchain.blocks.dsp.decibels import midi_to_hz
from hitchain.errors import UserError, nearest
from hitchain.files import read_audio, read_json, write_json
from hitchain.progress import Progress

RATE = 44_100
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
REFERENCE = 10.0 ** (-18.0 / 20.0)
"""RMS to which the pitched frames are brought."""
SHORTEST = 2.0
"""[s] of pitched sound without which nothing can be learnt."""
QUIET = 45.0
"""[dB] below the loudest: what is fainter is not counted as played."""
CHECKPOINT, RESULT, WEIGHTS = "checkpoint.safetensors", "result.json", "instrument.safetensors"
_WINDOWS = [2048, 1024, 512, 256]
_RESOLUTIONS = {"fft_sizes": _WINDOWS, "hop_sizes": [size // 4 for size in _WINDOWS], "win_lengths": _WINDOWS}


@dataclass(frozen=True)
class InstrumentSettings:
    """What `hitchain train-instrument` can be told; conf/train-instrument.yaml holds the same keys."""

    name: str = ""
    source: str = ""
    steps: int = 1500
    batch_size: int = 4
    segment_seconds: float = 1.0
    learning_rate: float = 2e-3
    hidden: int = 64
    harmonics: int = 64
    bands: int = 24
    heldout_fraction: float = 0.15
    evaluate_every: int = 100
    checkpoint_seconds: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        for key, (low, high) in _RANGES.items():
            value = getattr(self, key)
            whole = isinstance(low, int)
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else int | float)
                or not low <= value <= high
            ):
                kind = "a whole number" if whole else "a number"
                raise UserError(f"{key}={value!r} should be {kind} from {low} to {high}.")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> InstrumentSettings:
        """Settings from a configuration. Raises `UserError` for an unknown key."""
        known = [item.name for item in fields(cls)]
        for key in values:
            if key not in known:
                raise UserError(f"unknown key '{key}'; {nearest(str(key), known)}")
        return cls(**{str(key): value for key, value in values.items() if value is not None})


_RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 1_000_000), "batch_size": (1, 256), "segment_seconds": (0.25, 20.0), "learning_rate": (1e-6, 0.1),
    "hidden": (4, 1024), "harmonics": (1, 512), "bands": (2, 256), "heldout_fraction": (0.02, 0.5),
    "evaluate_every": (1, 100_000), "checkpoint_seconds": (0.0, 1e6), "seed": (0, 2**31 - 1),
}  # fmt: skip


@dataclass(frozen=True)
class Take:
    """A stretch of a recording and its frames: audio (samples,), pitch, loudness (frames,), pitched bool (frames,)."""

    audio: Tensor
    pitch: Tensor
    loudness: Tensor
    pitched: Tensor

    def cut(self, first: int, last: int) -> Take:
        """Frames `first` to `last`."""
        samples = slice(round(first / FRAME_RATE * RATE), round(last / FRAME_RATE * RATE))
        frames = slice(first, last + 1)
        return Take(self.audio[samples], self.pitch[frames], self.loudness[frames], self.pitched[frames])


def measured(audio: Tensor) -> Take:
    """Mono audio at `RATE` with its pitch and loudness."""
    pitch, pitched = features.pitch(audio, RATE)
    return Take(audio, pitch, features.loudness(audio, RATE, len(pitch)), pitched)


def play(decoder: Decoder, pitch: Tensor, loudness: Tensor, samples: int, position: Tensor) -> Tensor:
    """What the decoder plays from frames (voices, frames): (voices, samples) at `RATE`."""
    hertz = midi_to_hz(pitch.double())
    total, shares, hiss = decoder(with_history(pitch), with_history(loudness))
    count = torch.full((len(pitch),), samples)
    tables = harmonic_bank.noise_bands(0, decoder.about.bands, RATE, torch.float32)
    since = torch.zeros(len(pitch), dtype=torch.float64)
    amplitude = partials(total, shares, hertz, RATE)
    return harmonic_bank.sound(since, hertz, amplitude, hiss, tables, position, count, samples, FRAME_RATE, RATE)


def train(audio: str | Path, out: str | Path, settings: InstrumentSettings) -> dict[str, Any]:
    """Train a decoder on the recordings of a folder (or on one file).

    Args:
        out: the run's folder: checkpoint, history.jsonl, result.json, instrument.safetensors. Where it holds an
            unfinished run of the same settings, that run goes on.

    Returns:
        What result.json holds: `heldout_loss` of the best step, `untrained_loss`, `best_step`, `seconds`, ...

    Raises:
        UserError: there is no sound file, too little of it is pitched, or `out` holds another run.
    """
    return _Training(Path(audio), Path(out), settings).run()


class _Training:
    """One run: its recordings, its decoder, and where it stands."""

    def __init__(self, audio: Path, out: Path, settings: InstrumentSettings) -> None:
        from auraloss.freq import MultiResolutionSTFTLoss

        self.settings, self.out = settings, out
        self.files = _files(audio)
        if (out / RESULT).is_file() and not (out / CHECKPOINT).is_file():
            raise UserError(f"out={out} holds a finished run; choose another folder with out=FOLDER.")
        takes, about = _heard(self.files)
        self.training, self.heldout = _split(takes, settings)
        self.about = replace(
            about, harmonics=settings.harmonics, bands=settings.bands, hidden=settings.hidden,
            name=settings.name or audio.stem, source=settings.source,
        )  # fmt: skip
        torch.manual_seed(settings.seed)
        self.decoder = Decoder(self.about)
        self.loss = MultiResolutionSTFTLoss(**_RESOLUTIONS)
        self.optimiser = torch.optim.Adam(self.decoder.parameters(), lr=settings.learning_rate)
        self.step, self.seconds, self.best_loss, self.best_step = 0, 0.0, math.inf, 0
        self.untrained = math.nan
        self.best = {name: value.clone() for name, value in self.decoder.state_dict().items()}

    def run(self) -> dict[str, Any]:
        self._resume()
        began, kept = time.monotonic(), time.monotonic()
        if self.step == 0:
            self.untrained = self._evaluate()
        with Progress(self.settings.steps, "train", initial=self.step) as progress:
            while self.step < self.settings.steps:
                loss = self._advance()
                self.step += 1
                if self.step % self.settings.evaluate_every == 0 or self.step == self.settings.steps:
                    self._note(loss)
                progress.update(self.step, loss=loss, heldout=min(self.best_loss, 99.0))
                if time.monotonic() - kept >= self.settings.checkpoint_seconds:
                    self.seconds += time.monotonic() - began
                    began = kept = time.monotonic()
                    self._save()
        self.seconds += time.monotonic() - began
        return self._conclude()

    def _advance(self) -> float:
        """One step on stretches drawn by the seed and the step's number."""
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        frames = max(8, round(settings.segment_seconds * FRAME_RATE))
        chosen = [self._draw(frames, generator) for _ in range(settings.batch_size)]
        samples = min(len(take.audio) for take in chosen)
        target = torch.stack([take.audio[:samples] for take in chosen])
        for group in self.optimiser.param_groups:  # a tenth of the rate at the end, by a cosine
            way = self.step / settings.steps
            group["lr"] = settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * way))
        position = torch.randint(noise.PERIOD, (settings.batch_size,), generator=generator)
        pitch, loudness = (torch.stack([getattr(take, key) for take in chosen]) for key in ("pitch", "loudness"))
        self.optimiser.zero_grad()
        loss = self.loss(play(self.decoder, pitch, loudness, samples, position)[:, None], target[:, None])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 3.0)
        self.optimiser.step()
        return float(loss.detach())

    def _draw(self, frames: int, generator: torch.Generator) -> Take:
        """A stretch, recordings being drawn by their length; quiet ones are drawn again a few times."""
        lengths = torch.tensor([float(max(0, len(take.pitch) - frames - 1)) for take in self.training])
        for _ in range(8):
            take = self.training[int(torch.multinomial(lengths, 1, generator=generator))]
            first = int(torch.randint(len(take.pitch) - frames - 1, (1,), generator=generator))
            stretch = take.cut(first, first + frames)
            if float(stretch.pitched.float().mean()) > 0.3:
                break
        return stretch

    @torch.no_grad()
    def _evaluate(self) -> float:
        """The mean loss of the held-out stretches, weighed by their length."""
        total = weight = 0.0
        for take in self.heldout:
            position = torch.zeros(1, dtype=torch.int64)
            played = play(self.decoder, take.pitch[None], take.loudness[None], len(take.audio), position)
            total += float(self.loss(played[:, None], take.audio[None, None])) * len(take.audio)
            weight += len(take.audio)
        return total / weight

    def _note(self, loss: float) -> None:
        heldout = self._evaluate()
        if heldout < self.best_loss:
            self.best_loss, self.best_step = heldout, self.step
            self.best = {name: value.clone() for name, value in self.decoder.state_dict().items()}
        row = {"step": self.step, "loss": loss, "heldout_loss": heldout}
        with (self.out / "history.jsonl").open("a", encoding="utf-8") as history:
            history.write(json.dumps(row) + "\n")

    def _conclude(self) -> dict[str, Any]:
        self.decoder.load_state_dict(self.best)
        save(self.decoder, self.out / WEIGHTS)
        frames = sum(len(take.pitch) for take in self.training)
        result = {
            "heldout_loss": self.best_loss,
            "untrained_loss": self.untrained,
            "best_step": self.best_step,
            "steps": self.step,
            "files": len(self.files),
            "trained_on_seconds": round(features.seconds(frames), 2),
            "heldout_seconds": round(features.seconds(sum(len(take.pitch) for take in self.heldout)), 2),
            "seconds": round(self.seconds, 3),
            "about": asdict(self.about),
        }
        write_json(self.out / RESULT, result)
        (self.out / CHECKPOINT).unlink(missing_ok=True)
        return result

    def _identity(self) -> dict[str, Any]:
        """What makes two runs the same one."""
        values = {key: value for key, value in asdict(self.settings).items() if key != "checkpoint_seconds"}
        return {"settings": values, "files": [[path.name, path.stat().st_size] for path in self.files]}

    def _save(self) -> None:
        tensors = {f"network.{name}": value for name, value in self.decoder.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{key}": value.clone() for key, value in state.items()}
        best = self.best_loss if math.isfinite(self.best_loss) else None
        header = {
            "identity": self._identity(), "step": self.step, "seconds": self.seconds, "best_loss": best,
            "best_step": self.best_step, "untrained": self.untrained,
        }  # fmt: skip
        save_tensors(self.out / CHECKPOINT, {name: value.contiguous() for name, value in tensors.items()}, header)

    def _resume(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        if not (self.out / CHECKPOINT).is_file():
            (self.out / "history.jsonl").unlink(missing_ok=True)
            return
        tensors, header = load_tensors(self.out / CHECKPOINT)
        if header.get("identity") != self._identity():
            raise UserError(f"out={self.out} holds a run with other settings or recordings; choose another out=FOLDER.")
        self.step, self.seconds = int(header["step"]), float(header["seconds"])
        self.best_loss = math.inf if header["best_loss"] is None else float(header["best_loss"])
        self.best_step, self.untrained = int(header["best_step"]), float(header["untrained"])
        self.decoder.load_state_dict(_named(tensors, "network."))
        self.best = _named(tensors, "best.")
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _named(tensors, "optimiser.").items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _files(audio: Path) -> list[Path]:
    audio = audio.expanduser()
    if audio.is_file():
        return [audio]
    if not audio.is_dir():
        raise UserError(f"audio={audio} is no folder with sound files, and no sound file.")
    found = sorted(path for path in audio.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise UserError(f"audio={audio} holds no sound file ({', '.join(SUFFIXES)}).")
    return found


def _heard(paths: list[Path]) -> tuple[list[Take], About]:
    """The recordings with their features, brought to one level, and what is told of them."""
    takes = []
    with Progress(len(paths), "pitch") as progress:
        for number, path in enumerate(paths):
            audio, _ = read_audio(path, RATE)
            if audio.shape[-1] >= RATE // 4:
                takes += _sounding(measured(audio.mean(dim=0)))
            progress.update(number + 1)
    pitched = sum(int(take.pitched.sum()) for take in takes)
    if features.seconds(pitched) < SHORTEST:
        raise UserError(
            f"only {features.seconds(pitched):.1f} s of the recordings have a pitch; {SHORTEST:g} s and better a few "
            "minutes of one note at a time are needed."
        )
    power = torch.cat([take.audio.square() for take in takes]).mean() * sum(len(t.pitch) for t in takes) / pitched
    gain = REFERENCE / max(float(power.sqrt()), 1e-6)
    level = 20.0 * math.log10(gain)
    takes = [replace(take, audio=take.audio * gain, loudness=take.loudness + level) for take in takes]
    heard = torch.cat([take.loudness[take.pitched] for take in takes])
    notes = torch.cat([take.pitch[take.pitched] for take in takes])
    soft, loud = (float(torch.quantile(heard, share)) for share in (0.1, 0.9))
    lowest, highest = (float(torch.quantile(notes, share)) for share in (0.05, 0.95))
    return takes, About(soft=soft, loud=loud, lowest=lowest, highest=highest)


def _sounding(take: Take) -> list[Take]:
    """A take from its first to its last sound that is pitched and not fainter than its loudest by `QUIET`."""
    heard = torch.nonzero(take.pitched & (take.loudness > take.loudness.max() - QUIET)).squeeze(-1)
    if len(heard) < 2:
        return []
    last = math.floor(len(take.audio) / RATE * FRAME_RATE)
    cut = take.cut(max(0, int(heard[0]) - HISTORY), min(last, int(heard[-1]) + HISTORY))
    return [replace(cut, pitched=cut.pitched & (cut.loudness > take.loudness.max() - QUIET))]


def _split(takes: list[Take], settings: InstrumentSettings) -> tuple[list[Take], list[Take]]:
    """The end of every recording is held out, a history of frames left between."""
    training, heldout = [], []
    wanted = max(8, round(settings.segment_seconds * FRAME_RATE)) + 2
    for take in takes:
        last = min(len(take.pitch) - 1, math.floor(len(take.audio) / RATE * FRAME_RATE))
        edge = round(last * (1.0 - settings.heldout_fraction))
        if edge - HISTORY >= wanted:
            training.append(take.cut(0, edge - HISTORY))
        if last - edge >= 24:  # the longest transform fits
            heldout.append(take.cut(edge, last))
    if not training or not heldout:
        raise UserError(f"no recording is long enough for stretches of {settings.segment_seconds:g} s; set fewer.")
    return training, heldout


def finished(out: Path) -> dict[str, Any] | None:
    """The result of a finished run in a folder, if there is one."""
    path = out / RESULT
    if not path.is_file() or (out / CHECKPOINT).is_file():
        return None
    return dict(read_json(path, "result"))
