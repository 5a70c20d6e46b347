"""Keys: which scale notes are in, and the neighbours of a pitch in it."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from hitchain.blocks.notes.notes import Notes
from hitchain.errors import UserError, nearest

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
KEYS = tuple(f"{tonic} {scale}" for scale in SCALES for tonic in TONICS)
AUTO = "auto"

_PROFILES = (  # of how well each degree fits a key, for major and minor: Krumhansl and Kessler, 1982
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)


def check_key(key: str, where: str) -> str:
    """`key` itself: one of `KEYS` or "auto". Raises `UserError` naming `where`."""
    if key not in (*KEYS, AUTO):
        raise UserError(f"{where}={key!r} is no key; {nearest(str(key), (*KEYS, AUTO))}")
    return key


def key_of(notes: Notes) -> Tensor:
    """The key of each performance, as an index into `KEYS`: (batch,), int64.

    By the correlation of how long each pitch class sounds with the profile of each key (Krumhansl and Schmuckler).
    """
    classes = notes.pitch.detach().round().long().remainder(12)
    sounding = (notes.duration * notes.mask).detach().double()
    heard = torch.zeros(notes.batch, 12, dtype=torch.float64, device=classes.device).scatter_add(1, classes, sounding)
    heard = heard - heard.mean(dim=1, keepdim=True)
    return (heard @ _profiles().to(heard).T).argmax(dim=1)


def neighbours(notes: Notes, key: Tensor, steps: tuple[int, ...]) -> Tensor:
    """[semitones] from each note to its neighbours in the key: (batch, notes, len(steps)).

    A step of 2 is the second pitch of the scale above the note, also where the note itself is none of the scale.
    """
    table = _table(steps).to(device=notes.pitch.device, dtype=notes.pitch.dtype)
    classes = notes.pitch.detach().round().long().remainder(12)
    found: Tensor = table[key[:, None].to(classes.device), classes]
    return found


@lru_cache
def _profiles() -> Tensor:
    """(24, 12), in the order of `KEYS`, each of mean 0 and length 1."""
    rows = torch.stack([torch.tensor(profile).double().roll(tonic) for profile in _PROFILES for tonic in range(12)])
    rows = rows - rows.mean(dim=1, keepdim=True)
    return rows / rows.square().sum(dim=1, keepdim=True).sqrt()


@lru_cache
def _table(steps: tuple[int, ...]) -> Tensor:
    """(keys, pitch classes, steps): [semitones]."""
    rows = []
    for scale in SCALES.values():
        for tonic in range(12):
            within = {(tonic + degree) % 12 for degree in scale}
            rows.append([[_moved(pitch, step, within) for step in steps] for pitch in range(12)])
    return torch.tensor(rows)


def _moved(pitch: int, step: int, within: set[int]) -> float:
    """How far the pitch class goes to take `step` steps within the scale."""
    distance = 0
    for _ in range(abs(step)):
        distance += 1 if step > 0 else -1
        while (pitch + distance) % 12 not in within:
            distance += 1 if step > 0 else -1
    return float(distance)
