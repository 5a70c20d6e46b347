"""The linear end of a track's line (equaliser, cab, mic) as one impulse response, for any convolver or amp modeller."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import linear
from hitchain.blocks.parameter import Settings
from hitchain.blocks.row import run_block
from hitchain.chain.chain import Track
from hitchain.chain.export.session import Session, file_name
from hitchain.chain.patch import Patch
from hitchain.errors import UserError
from hitchain.files import read_audio, write_wav

STAGES = ("effects", "amp", "cab", "mic")
_ROOM = 1 << 14  # samples before the impulse, for what sounds early
_KEPT = 1e-10  # of the energy may be cut off at the end: -100 dB
_EARLY = 1e-9  # of the energy before its time is let go: a fractional delay's ripple
_TEST_SECONDS = 10.0

Member = tuple[str, LinearBlock, Settings]


def write(session: Session, out: Path) -> dict[str, Any]:
    """An impulse response for each track that ends in linear blocks. Returns what export.json tells."""
    responses, said = [], []
    for track in session.tracks:
        members = linear_end(track, session.song.start)
        if not members:
            continue
        kernel, early = impulse_of(members)
        name = f"{file_name(track.name)}.wav"
        write_wav(out / name, kernel.float(), session.song.sample_rate)
        error = _error(session, track, members, out / name, early)
        paths = [path for path, _, _ in members]
        seconds = kernel.shape[-1] / session.song.sample_rate
        responses.append(
            {"track": track.name, "file": name, "blocks": paths, "seconds": seconds, "late_by": early, "error": error}
        )
        said.append(f"response {name}: {', '.join(paths)}; {seconds:.2f} s, late by {early} samples, {error:.1f} dB")
    if not responses:
        raise UserError(f"{session.folder}: no track of it ends in linear blocks (an equaliser, cab or mic).")
    return {"responses": responses, "said": said}


def linear_end(track: Track, patch: Patch) -> list[Member]:
    """The linear blocks of a track after its last one that is not, the fader left out."""
    members: list[Member] = []
    for stage in track.line:
        if stage.name not in STAGES:
            continue
        for path, block in stage.members:
            if not isinstance(block, LinearBlock):
                members = []
            else:
                members.append((path, block, _double(patch.of(path))))
    return members


def _double(settings: Settings) -> dict[str, Tensor]:
    return {key: value.double() if value.is_floating_point() else value for key, value in settings.items()}


@torch.no_grad()
def impulse_of(members: list[Member]) -> tuple[Tensor, int]:
    """The response (channels, samples) of blocks in series, and by how many samples it is late.

    It is late where a block sounds before its time (a linear-phase equaliser): what comes early is kept.
    """
    blocks = [block.double() for _, block, _ in members]
    responses = [block.as_response(settings) for block, (_, _, settings) in zip(blocks, members, strict=True)]
    room = _ROOM + sum(int(getattr(block, "early", 0)) for block in blocks)
    audio = torch.zeros(1, 1, 2 * room + sum(response.tail for response in responses), dtype=torch.float64)
    audio[..., room] = 1.0
    kernel = linear.apply_responses(audio, responses)[0]
    energy = kernel.square().sum(dim=0)
    before = energy.cumsum(0) / energy.sum().clamp_min(1e-300)
    after = energy.flip(0).cumsum(0) / energy.sum().clamp_min(1e-300)
    first = min(int((before > _EARLY).nonzero()[0, 0]), room)
    last = kernel.shape[-1] - int((after > _KEPT).nonzero()[0, 0])
    return kernel[:, first : max(last, first + 1)], room - first


def _error(session: Session, track: Track, members: list[Member], file: Path, early: int) -> float:
    """Convolution with the file as written against the blocks one after the other, on the track's own sound [dB]."""
    rate = session.song.sample_rate
    stems = sorted((session.folder / "stems" / track.name).glob("1-*.wav"))
    audio = read_audio(stems[0])[0][:, : round(_TEST_SECONDS * rate)].double() if stems else torch.zeros(1, 0)
    if not float(audio.abs().sum()):
        audio = torch.randn(1, rate, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = audio[None]
    with torch.no_grad():
        for _, block, settings in members:
            expected = run_block(block.double(), expected, settings)
    for _, block, _ in members:
        block.float()
    kernel = read_audio(file)[0].double().numpy()
    channels = expected.shape[1]
    dry = np.broadcast_to(audio.numpy(), (channels, audio.shape[-1]))
    wet = scipy.signal.fftconvolve(dry, np.broadcast_to(kernel, (channels, kernel.shape[-1])), axes=-1)
    wet = wet[:, early : early + audio.shape[-1]]
    return decibels(wet - expected[0].numpy(), expected[0].numpy())


def decibels(error: np.ndarray[Any, Any], signal: np.ndarray[Any, Any]) -> float:
    """The level of an error against that of a signal; no lower than -300."""
    ratio = float(np.linalg.norm(error)) / max(float(np.linalg.norm(signal)), 1e-30)
    return 20.0 * math.log10(max(ratio, 1e-15))
