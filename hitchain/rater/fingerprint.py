"""Perceptual fingerprints: whether two files hold the same recording, whatever their level, container or sample rate.

After Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002: the power in 33 bands from 300 to
2000 Hz, 78 times a second; a bit says whether the difference between neighbouring bands grew since the frame before. 32
such bits are a sub-fingerprint. Half of the bits of unrelated recordings agree, nearly all of a recoding's do. A change
of tempo or pitch makes another recording.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 5_000
"""Audio is brought to this sample rate [Hz] first."""
FRAME, HOP = 2048, 64
BANDS = 33
LOWEST, HIGHEST = 300.0, 2000.0
SECONDS = 30.0
"""The middle of a recording is taken, at most so long: a trim at one end moves it by half its length."""
NEAR_DUPLICATE = 0.7
"""Share of equal bits from which two recordings are one; the paper's 0.65 is for 3 s, this for shorter too."""
SHORTEST_OVERLAP = 64
"""Sub-fingerprints, 0.8 s, and at least half of the shorter recording."""
SAMPLED = 2
"""One value in so many enters the look-up, the same values of every recording."""
NEIGHBOURS = 8
"""Recordings that share a value are paired with so many of the next ones: the work stays linear in their number."""
COMMON = 32
"""A value that more recordings share says little: each is paired with the next one only."""
VOTES = 2
"""Values that a pair must share to be compared."""

Fingerprint = NDArray[np.uint32]


def fingerprint(audio: NDArray[np.floating[Any]], rate: int) -> Fingerprint:
    """The fingerprint of a recording, (sub-fingerprints,); 0 where it is silent.

    Args:
        audio: (channels, samples), finite.
        rate: its sample rate [Hz].
    """
    import scipy.fft

    mono = _middle(audio, rate)
    if len(mono) < FRAME + HOP:
        return np.zeros(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(mono, FRAME)[::HOP]
    spectrum = scipy.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)
    edges = np.round(np.geomspace(LOWEST, HIGHEST, BANDS + 1) * FRAME / RATE).astype(int)
    within = spectrum[:, edges[0] : edges[-1]]
    bands = np.add.reduceat(within.real**2 + within.imag**2, edges[:-1] - edges[0], axis=1)
    bits = np.diff(np.diff(bands, axis=1), axis=0) < 0.0
    return np.asarray(np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32))


def _middle(audio: NDArray[np.floating[Any]], rate: int) -> NDArray[np.float32]:
    """The middle of a recording as mono at `RATE`; of one whose channels cancel, its first channel."""
    import scipy.signal

    wanted = round(SECONDS * rate)
    start = max(0, (audio.shape[1] - wanted) // 2)
    part = np.asarray(audio[:, start : start + wanted], np.float32)
    mono = part.mean(axis=0)
    if np.square(mono).sum() < 1e-4 * np.square(part[0]).sum():
        mono = part[0]
    divisor = math.gcd(rate, RATE)
    resampled = scipy.signal.resample_poly(mono, RATE // divisor, rate // divisor)
    return np.asarray(resampled, np.float32)


def similarity(first: Fingerprint, second: Fingerprint) -> float:
    """The share of equal bits where the two lie best over each other, 0..1; about 0.5 for unrelated recordings.

    Silent places say nothing and are left out. 0 where the two are too short to tell.
    """
    import scipy.fft

    needed = max(SHORTEST_OVERLAP, min(len(first), len(second)) // 2)
    if min(len(first), len(second)) < needed:
        return 0.0
    size = scipy.fft.next_fast_len(len(first) + len(second), real=True)
    spectra = [scipy.fft.rfft(_signs(one), size, axis=1) for one in (first, second)]
    product = spectra[0] * np.conj(spectra[1])
    agreement, heard = scipy.fft.irfft(np.stack([product[:-1].sum(axis=0), product[-1]]), size, axis=1)
    heard = np.round(heard)
    shares = np.where(heard >= needed, agreement / (32.0 * np.maximum(heard, 1.0)), -1.0)
    return float(np.clip((1.0 + shares.max()) / 2.0, 0.0, 1.0))


def _signs(values: Fingerprint) -> NDArray[np.float32]:
    """Bits as -1 and 1, 0 where silent, and as a last row where it is not silent: (33, sub-fingerprints)."""
    bits = np.unpackbits(values.astype(">u4").view(np.uint8).reshape(-1, 4), axis=1).T
    heard = (values != 0).astype(np.float32)
    return np.concatenate([(2.0 * bits - 1.0) * heard, heard[None]]).astype(np.float32)


def near_duplicates(fingerprints: Sequence[Fingerprint]) -> list[int]:
    """The group of each recording: the place of the first one that is the same, directly or by way of others.

    Recordings that share a few sub-fingerprints are compared; the look-up's time and memory grow with the number of
    recordings, not with that of pairs. Single notes and recordings under 1 s have too little to be found by.
    """
    parents = list(range(len(fingerprints)))
    for first, second in _candidates(fingerprints):
        one, other = _root(parents, first), _root(parents, second)
        if one != other and similarity(fingerprints[first], fingerprints[second]) >= NEAR_DUPLICATE:
            parents[max(one, other)] = min(one, other)
    return [_root(parents, place) for place in range(len(parents))]


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


def _candidates(fingerprints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """Pairs of recordings that share `VOTES` sampled values, in order."""
    values, owners = _sampled(fingerprints)
    order = np.lexsort((owners, values))
    values, owners = values[order], owners[order]
    _, shared = np.unique(values, return_counts=True)
    common = np.repeat(shared > COMMON, shared)
    keys = []
    for step in range(1, NEIGHBOURS + 1):
        alike = values[step:] == values[:-step]
        if step > 1:
            alike &= ~common[step:]
        keys.append(owners[:-step][alike] * len(fingerprints) + owners[step:][alike])
    pairs, votes = np.unique(np.concatenate(keys), return_counts=True)
    for pair in pairs[votes >= VOTES].tolist():
        yield divmod(pair, len(fingerprints))


def _sampled(fingerprints: Sequence[Fingerprint]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The values that enter the look-up, each once a recording, and whose they are."""
    values, owners = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
    for owner, one in enumerate(fingerprints):
        own = np.unique(one)
        # Multiplicative hashing (Knuth): its upper bits choose the same values of every recording.
        chosen = (own * np.uint32(2654435761) >> np.uint32(16)) % SAMPLED == 0
        chosen &= (own != 0) & (own != np.uint32(0xFFFFFFFF))
        values.append(own[chosen])
        owners.append(np.full(int(chosen.sum()), owner, np.int64))
    return np.concatenate(values), np.concatenate(owners)
