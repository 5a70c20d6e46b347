"""Real-world faults of recordings, each at a known strength from 0 (untouched) to 1 (ruined).

A fault is a function (audio, rate, strength, random) -> audio on float arrays of shape (2, samples) with an RMS level
near 0.1. At strength 0 it changes nothing; its ranges are chosen by ear so that 0.1 is a hint, 0.5 is plainly wrong and
1 is hard to listen to, for each fault alike. Everything random comes from the generator that is passed in.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import scipy.ndimage
import scipy.signal
import soundfile
from numpy.typing import NDArray

Audio = NDArray[np.float32]
Fault = Callable[[NDArray[np.float64], int, float, np.random.Generator], NDArray[np.float64]]
Samples = NDArray[np.float64]

TINY = 1e-9


def degrade(
    audio: Audio, rate: int, strength: float, random: np.random.Generator, names: list[str] | None = None
) -> tuple[Audio, list[str]]:
    """Audio with a chain of faults whose strongest one has the given strength.

    Args:
        audio: (2, samples).
        rate: sample rate [Hz].
        strength: 0 to 1.
        random: the source of every choice.
        names: the chain, strongest first; None draws one.

    Returns:
        The degraded audio at the level of the input, and the chain's names, strongest first (empty at strength 0).
    """
    if strength <= 0.0:
        return audio, []
    chain = names if names is not None else draw_chain(audio, random)
    level = rms(audio)
    out = np.asarray(audio, np.float64) * (0.1 / max(level, TINY))
    strengths = [strength] + [strength * random.uniform(0.3, 1.0) for _ in chain[1:]]
    for index in random.permutation(len(chain)):
        out = FAULTS[chain[index]](out, rate, strengths[index], random)
        out *= 0.1 / max(rms(out), TINY)
    return (out * (level / 0.1)).astype(np.float32), chain


def draw_chain(audio: Audio, random: np.random.Generator) -> list[str]:
    """One to three different faults; the ones of the stereo image only where there is an image."""
    names = [name for name in FAULTS if name not in STEREO_FAULTS or is_stereo(audio)]
    count = int(random.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    return [str(name) for name in random.choice(names, size=count, replace=False)]


def is_stereo(audio: Audio) -> bool:
    """Whether the side is no more than 30 dB under the middle."""
    return rms(audio[0] - audio[1]) > 0.03 * rms(audio[0] + audio[1])


def rms(audio: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))


def clipping(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """Driven 0 to 32 dB past the peak into hard, soft or one-sided clipping."""
    drive = 10.0 ** (32.0 * strength / 20.0) / max(float(np.abs(audio).max()), TINY)
    driven = audio * drive
    kind = random.integers(3)
    if kind == 0:
        return np.asarray(np.clip(driven, -1.0, 1.0))
    if kind == 1:
        return np.asarray(driven / (1.0 + np.abs(driven) ** 4) ** 0.25)
    return np.asarray(np.clip(driven, -1.0, 0.3 + 0.7 * (1.0 - strength)))


def bit_reduction(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """Few bits (11 down to 2) or a low sample rate without an anti-aliasing filter."""
    if random.random() < 0.5:
        step = 2.0 ** -(11.0 - 9.0 * strength) * float(np.abs(audio).max())
        return np.asarray(np.round(audio / max(step, TINY)) * step)
    hold = 1.0 + 14.0 * strength**1.5
    index = (np.floor(np.arange(audio.shape[1]) / hold) * hold).astype(int)
    return audio[:, index]


def noise(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """Hiss (white to brown), mains hum or crackle: at strength 0.1, 0.5 and 1 it is 32, 10 and 0 dB down."""
    kind = random.choice(["hiss", "hum", "crackle"], p=[0.6, 0.25, 0.15])
    samples = audio.shape[1]
    if kind == "hiss":
        unwanted = coloured_noise(samples, rate, float(random.uniform(-0.5, 1.6)), random)
        if random.random() < 0.5:
            unwanted[1] = unwanted[0]
    elif kind == "hum":
        time = np.arange(samples) / rate
        mains = float(random.choice([50.0, 60.0])) * random.uniform(0.99, 1.01)
        partials = [
            random.uniform(0.2, 1.0) / k * np.sin(2 * np.pi * (mains * k * time + random.random())) for k in range(1, 9)
        ]
        unwanted = np.broadcast_to(np.sum(partials, axis=0), audio.shape).copy()
    else:
        clicks = (random.random(samples) < 10.0 ** random.uniform(1.0, 2.2) / rate) * random.standard_normal(samples)
        decay = np.exp(-np.arange(64) / random.uniform(3.0, 15.0))
        unwanted = np.broadcast_to(scipy.signal.fftconvolve(clicks, decay)[:samples], audio.shape).copy()
    gain = rms(audio) / max(rms(unwanted), TINY) * strength**1.6
    return np.asarray(audio + unwanted * gain)


def coloured_noise(samples: int, rate: int, slope: float, random: np.random.Generator) -> Samples:
    """Two channels of noise with power falling as 1 / f^(2 slope): 0 white, 0.5 pink, 1 brown."""
    spectrum = np.fft.rfft(random.standard_normal((2, samples)))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1.0 / rate), 20.0)
    return np.asarray(np.fft.irfft(spectrum * frequency**-slope, samples))


def bad_equaliser(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """A harsh, muddy, boxy, thin, dull, scooped or resonant balance: gains up to 30 dB."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(audio.shape[1], 1.0 / rate), 10.0) / 1000.0)

    def bell(centre_hz: float, width: float) -> Samples:
        return np.asarray(np.exp(-0.5 * ((octaves - np.log2(centre_hz / 1000.0)) / width) ** 2))

    def shelf(corner_hz: float, rising: bool) -> Samples:
        slope = 3.0 * (octaves - np.log2(corner_hz / 1000.0))
        return np.asarray(1.0 / (1.0 + np.exp(-slope if rising else slope)))

    kind = random.choice(["harsh", "muddy", "boxy", "thin", "dull", "scooped", "resonant", "boomy", "random"])
    if kind == "harsh":
        shape = bell(random.uniform(2200, 6000), random.uniform(0.4, 0.9))
    elif kind == "muddy":
        shape = bell(random.uniform(150, 400), random.uniform(0.5, 0.9)) - 0.6 * shelf(3000, True)
    elif kind == "boxy":
        shape = bell(random.uniform(400, 1100), random.uniform(0.3, 0.7))
    elif kind == "thin":
        shape = -shelf(random.uniform(250, 700), False) + 0.3 * shelf(4000, True)
    elif kind == "dull":
        shape = -1.3 * shelf(random.uniform(1500, 4500), True)
    elif kind == "scooped":
        shape = -bell(random.uniform(500, 2000), random.uniform(0.9, 1.5))
    elif kind == "boomy":
        shape = shelf(random.uniform(70, 160), False)
    elif kind == "resonant":
        shape = sum((1.2 * bell(float(c), 0.06) for c in random.uniform(200, 6000, 4)), np.zeros_like(octaves))
    else:
        shape = sum(
            (
                g * bell(float(2.0**c * 1000.0), 0.5)
                for c, g in zip(np.arange(-4, 4), random.uniform(-0.8, 0.8, 8), strict=True)
            ),
            np.zeros_like(octaves),
        )
    gain = 10.0 ** (30.0 * strength * shape / 20.0)
    return np.asarray(np.fft.irfft(np.fft.rfft(audio) * gain, audio.shape[1]))


def band_limit(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """A low-pass from 16 kHz down to 900 Hz, a high-pass up to 1.2 kHz, or the two of a telephone."""
    kind = random.choice(["low_pass", "high_pass", "telephone"], p=[0.5, 0.25, 0.25])
    order = int(random.choice([2, 4, 8]))
    if kind != "high_pass":
        reach = strength if kind == "low_pass" else 0.7 * strength
        cutoff = min(15_500.0 * (900.0 / 15_500.0) ** reach, 0.49 * rate)
        audio = scipy.signal.sosfilt(scipy.signal.butter(order, cutoff, "low", fs=rate, output="sos"), audio)
    if kind != "low_pass":
        reach = strength if kind == "high_pass" else 0.8 * strength
        cutoff = 35.0 * (1200.0 / 35.0) ** reach
        audio = scipy.signal.sosfilt(scipy.signal.butter(min(order, 4), cutoff, "high", fs=rate, output="sos"), audio)
    return np.asarray(audio)


def bad_dynamics(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """Pumping in time with a beat, a squashed crest, a lurching level, or a gate that chops tails."""
    time = np.arange(audio.shape[1]) / rate
    kind = random.choice(["pump", "squash", "lurch", "gate"])
    if kind == "pump":
        phase = (time * random.uniform(1.2, 4.5) + random.random()) % 1.0
        return np.asarray(audio * 10.0 ** (-30.0 * strength * np.exp(-phase * random.uniform(2.0, 5.0)) / 20.0))
    if kind == "lurch":
        points = random.standard_normal(max(4, int(time[-1] * 4)))
        curve = np.interp(time, np.linspace(0.0, time[-1], len(points)), points)
        return np.asarray(audio * 10.0 ** (11.0 * strength * curve / 20.0))
    envelope = level_envelope(audio, rate, random.uniform(0.004, 0.03 if kind == "gate" else 0.08))
    loudest = float(np.quantile(envelope, 0.95))
    if kind == "gate":
        threshold = loudest * 10.0 ** ((-32.0 + 32.0 * strength) / 20.0)
        return np.asarray(audio * (1.0 / (1.0 + (threshold / np.maximum(envelope, TINY)) ** 4)))
    target = np.maximum(envelope, loudest * 1e-3)
    return np.asarray(audio * (loudest / target) ** (1.1 * strength**0.7))


def level_envelope(audio: Samples, rate: int, seconds: float) -> Samples:
    """The RMS level smoothed by a one-pole filter, the same for both channels."""
    pole = float(np.exp(-1.0 / (seconds * rate)))
    power = scipy.signal.lfilter([1.0 - pole], [1.0, -pole], np.square(audio).mean(0))
    return np.asarray(np.sqrt(np.maximum(power, TINY**2)))


def smear(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """Drowned in reverb: a decay of 0.4 to 5 s, from 24 dB under to 14 dB over the dry sound; or slapping echoes."""
    samples = audio.shape[1]
    time = np.arange(samples) / rate
    if random.random() < 0.8:
        decay = random.uniform(0.4, 1.2) + 3.5 * strength * random.random()
        tail = coloured_noise(samples, rate, random.uniform(0.0, 0.6), random) * 10.0 ** (-3.0 * time / decay)
        tail = np.roll(tail, int(random.uniform(0.0, 0.06) * rate), axis=1)
    else:
        tail = np.zeros_like(audio)
        for echo in range(1, 9):
            position = int(echo * random.uniform(0.05, 0.13) * rate)
            tail[:, min(position, samples - 1)] += 0.85**echo * (-1.0 if random.random() < 0.3 else 1.0)
    wet = scipy.signal.fftconvolve(audio, tail, axes=1)[:, :samples]
    wet *= rms(audio) / max(rms(wet), TINY)
    amount = 10.0 ** ((-24.0 + 38.0 * strength) / 20.0) * min(1.0, strength / 0.05)
    return np.asarray(audio * (1.0 - 0.7 * strength) + amount * wet)


def detune(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """Wow, flutter, a copy out of tune, or stretches that jump to a wrong pitch."""
    time = np.arange(audio.shape[1]) / rate
    kind = random.choice(["wow", "copy", "wrong_notes"])
    if kind == "wow":
        speed = random.uniform(0.4, 7.0)
        cents = 130.0 * strength
        # Speed deviation of a sine-modulated delay d(t) = a sin(2 pi f t) is 2 pi f a cos(...): solve a for the cents.
        depth = (2.0 ** (cents / 1200.0) - 1.0) / (2.0 * np.pi * speed)
        return read_at(audio, (time + depth * np.sin(2 * np.pi * (speed * time + random.random()))) * rate)
    if kind == "copy":
        cents = random.choice([-1.0, 1.0]) * random.uniform(30.0, 100.0)
        mix = strength**0.6
        return np.asarray(audio * (1.0 - 0.5 * mix) + mix * shift_pitch(audio, rate, cents / 100.0))
    wrong = shift_pitch(audio, rate, float(random.choice([-2.0, -1.0, -0.5, 0.5, 1.0, 1.5])))
    length = random.uniform(0.15, 0.5)
    slots = np.floor(time / length).astype(int)
    chosen = random.random(slots[-1] + 1) < 0.15 + 0.5 * strength
    switch = scipy.signal.lfilter([0.01], [1.0, -0.99], chosen[slots].astype(float)) * min(1.0, 1.6 * strength)
    return np.asarray(audio * (1.0 - switch) + wrong * switch)


def shift_pitch(audio: Samples, rate: int, semitones: float) -> Samples:
    """Pitch shift by two crossfaded taps that sweep along a delay line."""
    ratio = 2.0 ** (semitones / 12.0)
    window = 0.08 * rate
    position = np.arange(audio.shape[1], dtype=np.float64)
    out = np.zeros_like(audio)
    for offset in (0.0, 0.5):
        phase = (position * (1.0 - ratio) / window + offset) % 1.0
        out += read_at(audio, position - phase * window) * np.sin(np.pi * phase) ** 2
    return out


def read_at(audio: Samples, position: Samples) -> Samples:
    """Audio at fractional sample positions, cubic interpolation, ends held."""
    position = np.clip(position, 1.0, audio.shape[1] - 3.0)
    index = position.astype(int)
    t = position - index
    a, b, c, d = (audio[:, index + k] for k in (-1, 0, 1, 2))
    return np.asarray(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))


def scramble(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """Pieces of 60 to 300 ms that slip in time, stutter, drop out or swap places."""
    samples = audio.shape[1]
    out = audio.copy()
    length = int(random.uniform(0.06, 0.3) * rate)
    fade = min(int(0.004 * rate), length // 4)
    window = np.ones(length)
    window[:fade] = np.linspace(0.0, 1.0, fade)
    window[-fade:] = window[:fade][::-1]
    kind = random.choice(["slip", "stutter", "drop", "swap"], p=[0.4, 0.2, 0.2, 0.2])
    for start in range(0, samples - length, length):
        if random.random() > 0.02 + 0.88 * strength:
            continue
        if kind == "slip":
            source = start + int(random.uniform(-1.0, 1.0) * (0.02 + 0.25 * strength) * rate)
        elif kind == "stutter":
            source = start - length
        elif kind == "swap":
            source = int(random.integers(0, samples - length))
        else:
            source = -1
        piece = audio[:, source : source + length] if 0 <= source <= samples - length else 0.0
        part = out[:, start : start + length]
        out[:, start : start + length] = part * (1.0 - window) + piece * window
    return out


def narrow(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """The stereo image collapses towards mono, or onto one side."""
    middle, side = audio.mean(0), (audio[0] - audio[1]) / 2.0
    keep = 1.0 - strength**0.7
    if random.random() < 0.7:
        return np.stack([middle + keep * side, middle - keep * side])
    lean = float(random.choice([-0.9, 0.9])) * strength
    return np.stack([(1.0 + lean) * (middle + keep * side), (1.0 - lean) * (middle - keep * side)])


def hollow(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """A phasey image: a side that drowns the middle."""
    middle, side = audio.mean(0), (audio[0] - audio[1]) / 2.0
    side = side * 10.0 ** (24.0 * strength / 20.0)
    middle = middle * (1.0 - 0.7 * strength)
    return np.stack([middle + side, middle - side])


def codec_loss(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """A lossy round trip (MP3 or Vorbis at its worst, some of it mixed in) or holes torn into the spectrum."""
    if random.random() < 0.3:
        kind = str(random.choice(["MP3", "OGG"]))
        lossy = codec_round_trip(audio, rate, kind, min(0.99, 0.4 + 0.6 * strength))
        return spectral_holes(lossy, rate, 0.7 * strength, random)
    return spectral_holes(audio, rate, strength, random)


def codec_round_trip(audio: Samples, rate: int, kind: str, compression: float) -> Samples:
    """Through a lossy format and back, same length. `compression` 0 (best) to 1 (smallest)."""
    memory = io.BytesIO()
    peak = max(float(np.abs(audio).max()), TINY)
    soundfile.write(memory, (audio.T / peak * 0.9), rate, format=kind, compression_level=compression)
    memory.seek(0)
    decoded, _ = soundfile.read(memory, always_2d=True)
    decoded = decoded.T[:, : audio.shape[1]] * (peak / 0.9)
    return np.pad(decoded, ((0, 0), (0, audio.shape[1] - decoded.shape[1])))


def spectral_holes(audio: Samples, rate: int, strength: float, random: np.random.Generator) -> Samples:
    """Bins quieter than a share of their frame's neighbourhood vanish, as in a starved codec."""
    size = int(random.choice([512, 1024, 2048]))
    _, _, spectrum = scipy.signal.stft(audio, rate, nperseg=size)
    magnitude = np.abs(spectrum)
    smooth = scipy.ndimage.uniform_filter1d(magnitude, max(3, size // 32), axis=1)
    threshold = smooth * (2.2 * strength) + magnitude.max(axis=(1, 2), keepdims=True) * 10.0 ** (
        (-75.0 + 45.0 * strength) / 20.0
    )
    kept = spectrum * (magnitude > threshold)
    _, out = scipy.signal.istft(kept, rate, nperseg=size)
    out = out[:, : audio.shape[1]]
    return np.pad(out, ((0, 0), (0, audio.shape[1] - out.shape[1])))


FAULTS: dict[str, Fault] = {
    "clipping": clipping,
    "bit_reduction": bit_reduction,
    "noise": noise,
    "bad_equaliser": bad_equaliser,
    "band_limit": band_limit,
    "bad_dynamics": bad_dynamics,
    "smear": smear,
    "detune": detune,
    "scramble": scramble,
    "narrow": narrow,
    "hollow": hollow,
    "codec_loss": codec_loss,
}
STEREO_FAULTS = ("narrow", "hollow")


def worst_case(samples: int, rate: int, random: np.random.Generator) -> Audio:
    """Something that is no music at all: silence, noise of a colour, clicks, a pure tone, a sweep or hum."""
    kind = random.choice(
        ["silence", "noise", "clicks", "tone", "sweep", "noise_bursts"], p=[0.08, 0.42, 0.12, 0.16, 0.1, 0.12]
    )
    time = np.arange(samples) / rate
    if kind == "silence":
        return np.zeros((2, samples), np.float32)
    if kind in ("noise", "noise_bursts"):
        out = coloured_noise(samples, rate, float(random.uniform(-0.5, 1.3)), random)
        if kind == "noise_bursts":
            out = out * (np.sin(2 * np.pi * random.uniform(0.5, 8.0) * time) > random.uniform(-0.5, 0.5))
        if random.random() < 0.3:
            out = band_limit(out, rate, float(random.uniform(0.2, 0.9)), random)
    elif kind == "clicks":
        clicks = np.zeros(samples)
        clicks[:: max(1, int(rate / random.uniform(1.0, 60.0)))] = 1.0
        out = np.stack([clicks, clicks])
    else:
        start = 2.0 ** random.uniform(np.log2(60.0), np.log2(6000.0))
        rate_of_change = random.uniform(-2.0, 2.0) if kind == "sweep" else 0.0
        phase = 2 * np.pi * np.cumsum(start * 2.0 ** (rate_of_change * time)) / rate
        tone = sum(
            (random.random() / k * np.sin(k * phase) for k in range(1, int(random.integers(2, 8)))), np.zeros(samples)
        )
        out = np.stack([tone, tone])
    if random.random() < 0.4:
        out = np.repeat(out.mean(0, keepdims=True), 2, axis=0)
    return (out * (0.1 / max(rms(out), TINY))).astype(np.float32)
