"""The decoder: pitch and loudness, frame by frame -> how strong each harmonic and each band of noise is.

After the decoder of Engel, Hantrakul, Gu and Roberts, "DDSP: Differentiable Digital Signal Processing" (ICLR 2020),
with dilated causal convolutions in place of its recurrent layer, so that all frames are computed at once and a frame
depends on the 30 before it only (0.17 s).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import pad, silu, softplus

from hitchain.blocks.dsp.oscillators import below_nyquist
from hitchain.errors import UserError, nearest
from hitchain.files import replacing

FRAME_RATE = 44100 / 256
"""Frames a second, at every sample rate."""
DILATIONS = (1, 2, 4, 8)
HISTORY = 2 * sum(DILATIONS) + 1
"""Frames before the first that it hears."""
PITCH_MARGIN, PITCH_EDGE = 2.0, 0.5
"""[semitones] How far beyond the pitches it heard the timbre goes on changing, and how softly that ends."""
QUIETER, LOUDER, LOUDNESS_EDGE = 25.0, 6.0, 2.0
"""[dB] The same for loudness."""
FORMAT, VERSION, HEADER = "hitchain-instrument", 1, "hitchain"
LARGEST_FILE = 64 << 20


@dataclass(frozen=True)
class About:
    """What a decoder is made of and what it was trained on.

    Attributes:
        harmonics, bands, hidden: sizes of the network.
        lowest, highest: [MIDI semitones] the pitches heard in training (5th and 95th percentile).
        soft, loud: [dB] the loudness heard in training (10th and 90th percentile of what was pitched).
        name, source: for people.
    """

    harmonics: int = 64
    bands: int = 24
    hidden: int = 64
    lowest: float = 48.0
    highest: float = 72.0
    soft: float = -50.0
    loud: float = -25.0
    name: str = ""
    source: str = field(default="")


_RANGES = {
    "harmonics": (1, 512), "bands": (2, 256), "hidden": (4, 1024),
    "lowest": (0.0, 127.0), "highest": (0.0, 127.0), "soft": (-120.0, 40.0), "loud": (-120.0, 40.0),
}  # fmt: skip


class Decoder(nn.Module):
    """Pitch [MIDI semitones] and loudness [dB] -> (amplitudes of harmonics, levels of noise bands)."""

    def __init__(self, about: About) -> None:
        super().__init__()
        self.about = about
        self.enter = nn.Conv1d(2, about.hidden, 1)
        self.past = nn.ModuleList(nn.Conv1d(about.hidden, about.hidden, 3, dilation=d) for d in DILATIONS)
        self.leave = nn.Conv1d(about.hidden, 1 + about.harmonics + about.bands, 1)
        with torch.no_grad():  # begin with a falling spectrum and little noise
            bias = self.leave.get_parameter("bias")
            bias[1 : 1 + about.harmonics] = -0.06 * torch.arange(about.harmonics)
            bias[1 + about.harmonics :] = -4.0

    def forward(self, pitch: Tensor, loudness: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both (voices, HISTORY - 1 + frames) -> total amplitude (voices, frames, 1), shares of the harmonics, which
        sum to 1, (voices, frames, harmonics), and noise (voices, frames, bands)."""
        about = self.about
        pitch = _within(pitch, about.lowest - PITCH_MARGIN, about.highest + PITCH_MARGIN, PITCH_EDGE)
        loudness = _within(loudness, about.soft - QUIETER, about.loud + LOUDER, LOUDNESS_EDGE)
        x = torch.stack([(pitch - 60.0) / 24.0, (loudness + 40.0) / 25.0], dim=1)
        x = silu(self.enter(x))
        for layer in self.past:
            past = silu(layer(x))
            x = x[..., x.shape[-1] - past.shape[-1] :] + past
        total, shares, hiss = self.leave(x).mT.split([1, self.about.harmonics, self.about.bands], dim=-1)
        return _positive(total), torch.softmax(shares, dim=-1), 0.1 * _positive(hiss)


def frozen(decoder: Decoder) -> Decoder:
    """The same decoder with its weights as buffers: they move with it, and nothing can train them."""
    for module in decoder.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
    return decoder


def _within(x: Tensor, low: float, high: float, edge: float) -> Tensor:
    """x, held softly between two ends: beyond what it has heard, a network's guesses run wild."""
    raised = low + edge * softplus((x - low) / edge)
    return high - edge * softplus((high - raised) / edge)


def _positive(x: Tensor) -> Tensor:
    """DDSP's scaling: 2 sigmoid(x)^ln 10 + 1e-7, from nothing to 2."""
    return 2.0 * torch.exp(math.log(10.0) * nn.functional.logsigmoid(x)) + 1e-7


def with_history(frames: Tensor) -> Tensor:
    """Frames (voices, frames) preceded by as many as the decoder looks back on, all like the first."""
    return pad(frames, (HISTORY - 1, 0), mode="replicate")


def partials(total: Tensor, shares: Tensor, hertz: Tensor, sample_rate: int) -> Tensor:
    """The amplitudes of the harmonics, those near and above the Nyquist frequency faded out."""
    number = torch.arange(1, shares.shape[-1] + 1, dtype=hertz.dtype, device=hertz.device)
    return total * shares * below_nyquist(hertz[..., None] * number, sample_rate).to(shares.dtype)


def shipped() -> dict[str, Path]:
    """The decoders that come with the package, by name."""
    folder = Path(str(resources.files("hitchain") / "data" / "instruments"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(instrument: str) -> Path:
    """The weights of a shipped instrument, in a file, or in a run folder of `hitchain train-instrument`."""
    known = shipped()
    if instrument in known:
        return known[instrument]
    path = Path(instrument).expanduser()
    if path.is_dir():
        path = path / "instrument.safetensors"
    if not path.is_file():
        raise UserError(
            f"instrument '{instrument}' is neither a shipped one nor a file or run folder; {nearest(instrument, known)}"
        )
    return path


def save(decoder: Decoder, path: Path) -> None:
    """Write the weights and what they are, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in decoder.state_dict().items()}
    save_tensors(path, tensors, {"about": asdict(decoder.about)})


def load(path: Path) -> Decoder:
    """A decoder from its file. Raises `UserError` where it is missing, damaged, or not one of ours."""
    tensors, header = load_tensors(path)
    about = _about(header.get("about"), path)
    decoder = Decoder(about)
    wanted = decoder.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in wanted or name not in tensors or tensors[name].shape != wanted[name].shape:
            raise UserError(f"{path}: tensor {name} is missing, unknown or of a wrong shape.")
        if tensors[name].dtype != torch.float32 or not bool(torch.isfinite(tensors[name]).all()):
            raise UserError(f"{path}: tensor {name} is not float32 or holds NaN or infinity.")
    decoder.load_state_dict(tensors)
    return decoder.eval()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as safetensors, whole or not at all."""
    text = json.dumps({"format": FORMAT, "version": VERSION, **header}, allow_nan=False)
    with replacing(path) as temporary:
        save_file(dict(tensors), str(temporary), metadata={HEADER: text})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of a file written by `save_tensors`."""
    if not path.is_file():
        raise UserError(f"instrument weights not found: {path}")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"{path} is larger than {LARGEST_FILE >> 20} MiB: not an instrument's weights.")
    try:
        with safe_open(str(path), framework="pt") as handle:
            header = json.loads((handle.metadata() or {}).get(HEADER, "null"))
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not a readable safetensors file (truncated, or of another kind): {error}"
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        raise UserError(f"{path} does not hold an instrument of hitchain (format {FORMAT}, version {VERSION}).")
    return tensors, header


def _about(value: Any, path: Path) -> About:
    known = {item.name for item in fields(About)}
    if not isinstance(value, dict) or set(value) - known:
        raise UserError(f"{path}: `about` in its header must hold {', '.join(sorted(known))}.")
    for name, (low, high) in _RANGES.items():
        entry = value.get(name, getattr(About, name))
        if isinstance(entry, bool) or not isinstance(entry, type(low) if isinstance(low, int) else int | float):
            raise UserError(f"{path}: {name} is {entry!r}; it must be a number from {low} to {high}.")
        if not low <= entry <= high:
            raise UserError(f"{path}: {name} is {entry!r}; it must be from {low} to {high}.")
    return About(**{**value, **{name: str(value.get(name, ""))[:500] for name in ("name", "source")}})
