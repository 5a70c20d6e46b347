"""Audio of any length -> a vector of named numbers a music-information researcher would compute (librosa's features).

They serve the raters that are not neural: boosted trees and ridge regression. Level does not matter, since the audio is
brought to one level first. The sample rate hardly does: it is brought to one rate, and nothing is heard above 14.5 kHz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hitchain.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

FEATURE_RATE = 32_000
"""The sample rate [Hz] everything is heard at; that of prepared audio, which then needs no resampling."""
SHORTEST_SECONDS = 1.0
LOWEST_SAMPLE_RATE, HIGHEST_SAMPLE_RATE = 8_000, 192_000
WINDOW, HOP, PITCH_WINDOW = 2048, 640, 8192
HIGHEST = 14_500.0
SILENCE_RMS = 1e-6
"""Root-mean-square level (-120 dBFS) under which audio fades into silence instead of being turned up."""
FLOOR = 1e-7
"""Power relative to the whole (-70 dB) under which a mel band counts as empty."""
MFCCS, CONTRAST_BANDS, MEL_BANDS = 20, 6, 80
EDGES = (0.0, 60.0, 250.0, 500.0, 2_000.0, 4_000.0, 8_000.0, HIGHEST)
BANDS = ("sub", "bass", "low_middle", "middle", "high_middle", "presence", "air")
SHAPES = ("centroid", "bandwidth", "rolloff_50", "rolloff_85", "rolloff_98", "flatness", "zero_crossings", "flux")
LEVEL_QUANTILES = (5, 25, 50, 75, 95)


def _names() -> tuple[str, ...]:
    names: list[str] = []
    for number in range(MFCCS):
        names += [f"mfcc_{number}.{what}" for what in ("mean", "deviation", "delta", "acceleration")]
    for number in range(CONTRAST_BANDS + 1):
        names += [f"contrast_{number}.{what}" for what in ("mean", "deviation")]
    for shape in SHAPES:
        names += [f"{shape}.{what}" for what in ("mean", "deviation")]
    names += [f"share.{band}" for band in BANDS] + [f"swing.{band}" for band in BANDS]
    names += [f"chroma.{step}" for step in range(12)]
    names += ["chroma.deviation", "chroma.entropy", "key.clarity", "key.margin", "key.major"]
    for number in range(6):
        names += [f"tonnetz_{number}.{what}" for what in ("mean", "deviation")]
    names += ["onset.mean", "onset.deviation", "onset.high", "onset.rate", "tempo", "tempo.clarity"]
    names += [f"level.{quantile}" for quantile in LEVEL_QUANTILES]
    names += ["level.deviation", "level.range", "level.change", "crest", "clipped"]
    names += ["stereo.width", "stereo.correlation", *(f"stereo.{band}" for band in BANDS)]
    return tuple(names)


NAMES = _names()
"""The name of every entry of the vector, in its order."""

# How well each step of the scale fits a key, by listeners' probe-tone ratings (Krumhansl and Kessler 1982).
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def features(audio: Array, sample_rate: int) -> NDArray[np.float64]:
    """The features of one recording or crop.

    Args:
        audio: (channels, samples) or (samples,), 1 or 2 channels, a second or more, nominal full scale 1.0.
        sample_rate: 8,000 to 192,000 Hz.

    Returns:
        (len(NAMES),), finite for every audio, silence included. Deviations are over frames of 64 ms every 20 ms.
        `chroma.0` to `chroma.11` count semitones up from the strongest pitch class, so that the key does not matter.

    Raises:
        UserError: a shape, length, rate or value that cannot be heard.
    """
    import librosa

    stereo = _prepared(audio, sample_rate)
    frequencies = np.fft.rfftfreq(WINDOW, 1.0 / FEATURE_RATE)
    frequencies = frequencies[frequencies <= HIGHEST]
    spectra = np.abs(librosa.stft(stereo, n_fft=WINDOW, hop_length=HOP))[:, : len(frequencies)]
    spectra = spectra / np.sqrt(0.375 * WINDOW * WINDOW / 2)  # a steady signal's squares then sum to its mean square
    # The level of what is heard: that of the whole would depend on how much a file's sample rate holds above it.
    level = np.sqrt(np.mean(np.sum(spectra**2, axis=1)) + SILENCE_RMS**2)
    stereo, spectra = stereo / level, spectra / level
    mono = stereo.mean(axis=0)
    middle = np.abs(librosa.stft(mono, n_fft=WINDOW, hop_length=HOP))[: len(frequencies)]
    middle = middle / np.sqrt(0.375 * WINDOW * WINDOW / 2)
    power = middle**2
    values = {
        **_timbre(middle, power, frequencies, mono),
        **_balance(power, frequencies),
        **_harmony(mono),
        **_rhythm(power),
        **_dynamics(stereo, mono),
        **_image(stereo, spectra, middle, frequencies),
    }
    return np.array([values[name] for name in NAMES], dtype=np.float64)


def _prepared(audio: Array, sample_rate: int) -> NDArray[np.float32]:
    """(1 or 2, samples) at FEATURE_RATE."""
    import librosa

    data = np.atleast_2d(np.asarray(audio))
    if data.ndim != 2 or data.shape[0] not in (1, 2) or not np.issubdtype(data.dtype, np.floating):
        raise UserError(
            f"features are taken of floating-point audio (channels, samples) with 1 or 2 channels, "
            f"not {data.dtype} {np.shape(audio)}."
        )
    rate = int(sample_rate)
    if rate != sample_rate or not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
        raise UserError(f"features are taken at {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz, not {sample_rate!r}.")
    if data.shape[1] < SHORTEST_SECONDS * rate:
        raise UserError(
            f"audio of {data.shape[1] / rate:.2f} s is too short: {SHORTEST_SECONDS:g} s or more is needed."
        )
    if not np.isfinite(data).all():
        raise UserError("audio holds NaN or infinity: it has no features.")
    data = data.astype(np.float32, copy=False)
    if rate != FEATURE_RATE:
        data = librosa.resample(data, orig_sr=rate, target_sr=FEATURE_RATE, res_type="soxr_hq", axis=-1)
    return np.ascontiguousarray(data, dtype=np.float32)


def _decibels(power: Array) -> Array:
    result: Array = 10.0 * np.log10(power + FLOOR)
    return result


def _timbre(middle: Array, power: Array, frequencies: Array, mono: Array) -> dict[str, float]:
    """MFCCs with their movement, spectral contrast, and the shape of the spectrum."""
    import librosa

    filters = librosa.filters.mel(sr=FEATURE_RATE, n_fft=WINDOW, n_mels=MEL_BANDS, fmin=30.0, fmax=HIGHEST, norm=None)
    mel = _decibels(filters[:, : len(frequencies)] @ power)
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=MFCCS)
    values: dict[str, float] = {}
    movement, acceleration = librosa.feature.delta(mfcc), librosa.feature.delta(mfcc, order=2)
    for number in range(MFCCS):
        values |= _summary(f"mfcc_{number}", mfcc[number])
        values[f"mfcc_{number}.delta"] = float(movement[number].std())
        values[f"mfcc_{number}.acceleration"] = float(acceleration[number].std())
    contrast = librosa.feature.spectral_contrast(
        S=middle, sr=FEATURE_RATE, freq=frequencies, n_bands=CONTRAST_BANDS, fmin=200.0
    )
    for number, row in enumerate(contrast):
        values |= _summary(f"contrast_{number}", row)
    shapes: dict[str, Array] = {
        "centroid": librosa.feature.spectral_centroid(S=middle, freq=frequencies),
        "bandwidth": librosa.feature.spectral_bandwidth(S=middle, freq=frequencies),
        **{
            f"rolloff_{percent}": librosa.feature.spectral_rolloff(
                S=middle, freq=frequencies, roll_percent=percent / 100
            )
            for percent in (50, 85, 98)
        },
        "flatness": _decibels(librosa.feature.spectral_flatness(S=middle, amin=FLOOR)),
        "zero_crossings": librosa.feature.zero_crossing_rate(mono, frame_length=WINDOW, hop_length=HOP),
        "flux": np.abs(np.diff(mel, axis=1)).mean(axis=0),
    }
    for name in SHAPES:
        values |= _summary(name, shapes[name])
    return values


def _balance(power: Array, frequencies: Array) -> dict[str, float]:
    """How much of the power is in each band [dB of the whole], and how far the band's level swings [dB]."""
    values = {}
    for name, low, high in zip(BANDS, EDGES, EDGES[1:], strict=False):
        band = power[(frequencies >= low) & (frequencies < high)].sum(axis=0)
        values[f"share.{name}"] = float(_decibels(band.mean()))
        values[f"swing.{name}"] = float(_decibels(band).std())
    return values


def _harmony(mono: Array) -> dict[str, float]:
    """Pitch classes from the strongest up, how clear the key is, and the tonal centroid (Harte et al. 2006).

    Windows of 256 ms: shorter ones do not tell the semitones of the low octaves apart.
    """
    import librosa

    power = np.abs(librosa.stft(mono, n_fft=PITCH_WINDOW, hop_length=PITCH_WINDOW // 4)) ** 2
    filters = librosa.filters.chroma(sr=FEATURE_RATE, n_fft=PITCH_WINDOW, tuning=0.0)
    raw = filters @ power
    chroma = raw / (raw.max(axis=0, keepdims=True) + FLOOR)
    mean = chroma.mean(axis=1)
    strongest = int(np.argmax(mean))
    rotated = np.roll(mean, -strongest)
    share = mean / (mean.sum() + FLOOR)
    values = {f"chroma.{step}": float(rotated[step]) for step in range(12)}
    values["chroma.deviation"] = float(chroma.std(axis=1).mean())
    values["chroma.entropy"] = float(-(share * np.log2(share + FLOOR)).sum())
    values |= _key(mean)
    turned = np.roll(chroma, -strongest, axis=0)
    for number, row in enumerate(librosa.feature.tonnetz(chroma=turned)):
        values |= _summary(f"tonnetz_{number}", row)
    return values


def _key(chroma: Array) -> dict[str, float]:
    """Correlation with the best of the 24 keys, its lead over the next, and how much more major than minor."""
    profiles = np.array([np.roll(profile, step) for profile in (MAJOR_PROFILE, MINOR_PROFILE) for step in range(12)])
    profiles = profiles - profiles.mean(axis=1, keepdims=True)
    centred = chroma - chroma.mean()
    fits = profiles @ centred / (np.linalg.norm(profiles, axis=1) * np.linalg.norm(centred) + FLOOR)
    ranked = np.sort(fits)
    return {
        "key.clarity": float(ranked[-1]),
        "key.margin": float(ranked[-1] - ranked[-2]),
        "key.major": float(fits[:12].max() - fits[12:].max()),
    }


def _rhythm(power: Array) -> dict[str, float]:
    """Onset strength, onsets a second, tempo [BPM] and how clearly the pulse stands out."""
    import librosa

    filters = librosa.filters.mel(sr=FEATURE_RATE, n_fft=WINDOW, n_mels=40, fmin=30.0, fmax=HIGHEST, norm=None)
    levels = _decibels(filters[:, : power.shape[0]] @ power)
    onset = librosa.onset.onset_strength(S=levels, sr=FEATURE_RATE, hop_length=HOP, center=False)
    seconds = power.shape[1] * HOP / FEATURE_RATE
    onsets = librosa.onset.onset_detect(onset_envelope=onset, sr=FEATURE_RATE, hop_length=HOP)
    pulse = librosa.autocorrelate(onset - onset.mean())
    pulse = pulse / (pulse[0] + FLOOR)
    lags = np.arange(1, len(pulse))
    tempi = 60.0 * FEATURE_RATE / (HOP * lags)
    # A listener's preference for 120 BPM, one octave wide (Ellis 2007), decides between a pulse and its multiples.
    weight = np.exp(-0.5 * np.log2(tempi / 120.0) ** 2) * ((tempi >= 40.0) & (tempi <= 240.0))
    best = int(np.argmax(weight * pulse[1:]))
    return {
        "onset.mean": float(onset.mean()),
        "onset.deviation": float(onset.std()),
        "onset.high": float(np.quantile(onset, 0.95)),
        "onset.rate": len(onsets) / seconds,
        "tempo": float(tempi[best]),
        "tempo.clarity": float(pulse[1 + best]),
    }


def _dynamics(stereo: Array, mono: Array) -> dict[str, float]:
    """Levels of frames of 64 ms relative to the whole [dB], crest factor [dB] and the share of samples at the top."""
    import librosa

    mean_square = np.mean(
        [librosa.feature.rms(y=row, frame_length=WINDOW, hop_length=HOP)[0] ** 2 for row in stereo], 0
    )
    levels = _decibels(mean_square)
    values = {
        f"level.{quantile}": float(value)
        for quantile, value in zip(LEVEL_QUANTILES, np.percentile(levels, LEVEL_QUANTILES), strict=True)
    }
    peak = float(np.abs(stereo).max())
    values["level.deviation"] = float(levels.std())
    values["level.range"] = values["level.95"] - values["level.5"]
    values["level.change"] = float(np.abs(np.diff(levels)).mean())
    mean = float(np.mean(np.square(stereo, dtype=np.float64)))
    values["crest"] = float(10.0 * np.log10((peak**2 + FLOOR) / (mean + FLOOR)))
    values["clipped"] = float(np.mean(np.abs(stereo) > 0.97 * peak)) if peak > 0.0 else 0.0
    return values


def _image(stereo: Array, spectra: Array, middle: Array, frequencies: Array) -> dict[str, float]:
    """Side against middle [dB], over all and in each band, and the correlation of left and right."""
    whole = (spectra**2).mean(axis=0)
    side = np.maximum(whole - middle**2, 0.0).mean(axis=1)  # (left^2 + right^2) / 2 = mid^2 + side^2
    mid = (middle**2).mean(axis=1)
    left, right = stereo[0].astype(np.float64), stereo[-1].astype(np.float64)
    together = float(np.mean(left * right) / (np.sqrt(np.mean(left**2) * np.mean(right**2)) + FLOOR))
    values = {"stereo.width": _ratio(side.sum(), mid.sum()), "stereo.correlation": together}
    for name, low, high in zip(BANDS, EDGES, EDGES[1:], strict=False):
        inside = (frequencies >= low) & (frequencies < high)
        values[f"stereo.{name}"] = _ratio(side[inside].sum(), mid[inside].sum())
    return values


def _ratio(side: float, mid: float) -> float:
    """Decibels from -50 (mono) to 50 (the sides cancel in the middle); -50 for silence."""
    return float(10.0 * np.log10((side + 1e-5 * mid + FLOOR * 1e-5) / (mid + 1e-5 * side + FLOOR)))


def _summary(name: str, row: Array) -> dict[str, float]:
    return {f"{name}.mean": float(np.mean(row)), f"{name}.deviation": float(np.std(row))}
