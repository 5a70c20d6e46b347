"""Weights files: safetensors whose header says which network they fill. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hitchain.errors import UserError, nearest
from hitchain.files import replacing
from hitchain.rater import networks
from hitchain.rater.frontend import FrontEndSettings

FORMAT = "hitchain-rater"
VERSION = 1
HEADER_KEY = "hitchain"
LARGEST_FILE = 256 * 2**20


def save(
    path: str | Path,
    network: nn.Module,
    architecture: str,
    options: Mapping[str, Any],
    front_end: FrontEndSettings,
    about: Mapping[str, Any],
) -> None:
    """Write a network's weights, whole or not at all. Its label heads are written with their class names.

    Args:
        options: what `networks.create` was given besides the architecture, the number of mel bands and the heads.
        about: JSON values kept in the header, for a popularity rater with `target_mean` and `target_deviation`.
    """
    heads = {name: list(classes) for name, classes in getattr(network, "heads", {}).items()}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": architecture,
        "options": {**networks.default_options(architecture), **{k: v for k, v in options.items() if k != "heads"}},
        **({"heads": heads} if heads else {}),  # files without heads stay readable for every hitchain
        "front_end": front_end.as_dict(),
        "about": dict(about),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_tensors(path, tensors, header)


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as safetensors, whole or not at all."""
    with replacing(path) as temporary:
        save_file(dict(tensors), str(temporary), metadata={HEADER_KEY: json.dumps(header, allow_nan=False)})


def load(path: str | Path) -> tuple[networks.RatingNetwork, FrontEndSettings, dict[str, Any]]:
    """The network in a weights file, in evaluation mode; its front end's settings; and the header's `about`.

    Raises:
        UserError: the file is missing, truncated, not a rater's, or its tensors do not fit its architecture.
    """
    file = Path(path)
    tensors, header = load_tensors(file)
    if header.get("format") != FORMAT:
        raise UserError(f"{file} does not hold a rater (its header says {header.get('format')!r}, not {FORMAT!r}).")
    if header.get("version") != VERSION:
        raise UserError(f"{file} has rater format version {header.get('version')!r}; this hitchain reads {VERSION}.")
    with _said_of(file):
        front_end = _front_end(header.get("front_end"))
        options, about, heads = header.get("options"), header.get("about"), header.get("heads", {})
        if not isinstance(options, dict) or not isinstance(about, dict) or not isinstance(heads, dict):
            raise UserError("`options`, `heads` and `about` in its header must be JSON objects.")
        if "heads" in options:
            raise UserError("`heads` in its header stands inside `options`; it belongs beside it.")
        network = networks.create(str(header.get("architecture")), front_end.mel_bands, heads, **options)
    _fill(network, tensors, file)
    return network.eval(), front_end, about


def format_of(path: str | Path) -> str | None:
    """The `format` in the header of a file written by `save_tensors`; None where it holds none or cannot be read."""
    try:
        with safe_open(str(path), framework="pt") as handle:
            header = json.loads((handle.metadata() or {}).get(HEADER_KEY, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        return None
    return str(header["format"]) if isinstance(header, dict) and "format" in header else None


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON header of a file written by `save_tensors`."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"weights file not found: {file}")
    if file.stat().st_size > LARGEST_FILE:
        raise UserError(f"{file} is larger than {LARGEST_FILE // 2**20} MB: not a rater's weights.")
    try:
        with safe_open(str(file), framework="pt") as handle:
            header = json.loads((handle.metadata() or {}).get(HEADER_KEY, "null"))
            # Copied to aligned memory: sums over unaligned tensors round differently.
            tensors = {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{file} is not a readable safetensors file (truncated, or of another kind): {error}"
        ) from error
    if not isinstance(header, dict):
        raise UserError(f"{file} holds no hitchain header: it was not written by hitchain.")
    return tensors, header


def _front_end(value: Any) -> FrontEndSettings:
    known = {field.name: field.default for field in fields(FrontEndSettings)}
    if not isinstance(value, dict):
        raise UserError("`front_end` in its header must be a JSON object.")
    for name, entry in value.items():
        if name not in known:
            raise UserError(f"unknown front end setting {name!r}; {nearest(name, known)}")
        low, high = _FRONT_END_RANGES[name]
        if isinstance(entry, bool) or not isinstance(entry, int | float) or not low <= entry <= high:
            raise UserError(f"front end setting {name} is {entry!r}; it must be from {low:g} to {high:g}.")
        if name == "mel_bands" and not isinstance(entry, int):
            raise UserError(f"front end setting mel_bands is {entry!r}; it must be a whole number.")
    settings = FrontEndSettings(**value)
    if settings.lowest >= settings.highest:
        raise UserError("front end setting lowest must be under highest.")
    return settings


_FRONT_END_RANGES = {
    "window_seconds": (0.01, 0.2),
    "hop_seconds": (0.005, 0.1),
    "mel_bands": (16, 256),
    "lowest": (0.0, 1000.0),
    "highest": (2000.0, 24_000.0),
    "floor_db": (-120.0, -20.0),
}


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    wanted = network.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        first = f"{missing[0]} is missing" if missing else f"{extra[0]} is not part of the network"
        raise UserError(
            f"{file} does not fit its architecture: {first} ({len(missing)} missing, {len(extra)} unknown)."
        )
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            raise UserError(
                f"{file}: tensor {name} is {tensor.dtype} {tuple(tensor.shape)}; "
                f"its architecture needs {wanted[name].dtype} {tuple(wanted[name].shape)}."
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{file}: tensor {name} holds NaN or infinity.")
    network.load_state_dict(dict(tensors))


@contextmanager
def _said_of(file: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
