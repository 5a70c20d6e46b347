"""The inner loops of the harmonic bank, compiled. Imported only when first used, since numba is slow to load.

A voice is worked through frame by frame. Within a frame the partials follow from the first by rotation, all samples of
the frame at once, which the compiler vectorises.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

import numpy as np
from numba import njit

FAST = {"reassoc", "contract", "nsz"}
BLOCK = 512
"""Samples of a frame that are worked on together; a longer frame takes several turns."""


@njit(cache=True, nogil=True, error_model="numpy")
def stretch_of(begin, count, since, step, frames):
    """(frame, samples from `begin` on that lie in it): at most BLOCK, within `count`."""
    frame = min(max(np.int64(math.floor(since + begin * step)), 0), frames - 2)
    length = count - begin
    if frame < frames - 2:
        length = np.int64(math.ceil((frame + 1 - since) / step)) - begin
    return frame, max(1, min(length, BLOCK, count - begin))


@njit(cache=True, nogil=True, error_model="numpy")
def turns(begin, length, since, step, frame, hertz, start, rate, along, sine, cosine):
    """Where in the frame each sample stands, and the sine and cosine of the first partial."""
    rise = hertz[frame + 1] - hertz[frame]
    for i in range(length):
        x = since + (begin + i) * step - frame
        phase = start + x * (hertz[frame] + 0.5 * x * rise) / rate
        angle = 2.0 * math.pi * (phase - math.floor(phase))
        along[i] = x
        sine[i] = math.sin(angle)
        cosine[i] = math.cos(angle)


@njit(cache=True, nogil=True, error_model="numpy")
def heard(amplitude, frame):
    """The number of partials up to the last that sounds in a frame."""
    top = amplitude.shape[1]
    while top > 0 and amplitude[frame, top - 1] == 0.0 and amplitude[frame + 1, top - 1] == 0.0:
        top -= 1
    return top


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def rotate(length, sine, cosine, s, c):
    """From one partial to the next."""
    for i in range(length):
        turned = s[i] * cosine[i] + c[i] * sine[i]
        c[i] = c[i] * cosine[i] - s[i] * sine[i]
        s[i] = turned


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def forward(first, last, since, hertz, amplitude, hiss, tables, position, count, rate, step, audio):
    """rate is of the frames [Hz], step the frames from one sample to the next, since the first sample's place."""
    kind = audio.dtype
    along, sine, cosine = np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    s, c = np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    period = tables.shape[1] - BLOCK
    for voice in range(first, last):
        out = audio[voice]
        out[:] = 0.0
        begin, start, at = 0, 0.0, 0
        while begin < count[voice]:
            frame, length = stretch_of(begin, count[voice], since[voice], step, hertz.shape[1])
            while at < frame:
                start += 0.5 * (hertz[voice, at] + hertz[voice, at + 1]) / rate
                at += 1
            turns(begin, length, since[voice], step, frame, hertz[voice], start, rate, along, sine, cosine)
            s[:length] = sine[:length]
            c[:length] = cosine[:length]
            for k in range(heard(amplitude[voice], frame)):
                now, rise = amplitude[voice, frame, k], amplitude[voice, frame + 1, k] - amplitude[voice, frame, k]
                for i in range(length):
                    out[begin + i] += (now + along[i] * rise) * s[i]
                rotate(length, sine, cosine, s, c)
            place = (position[voice] + begin) % period
            for band in range(tables.shape[0]):
                now, rise = hiss[voice, frame, band], hiss[voice, frame + 1, band] - hiss[voice, frame, band]
                noise = tables[band, place : place + length]
                for i in range(length):
                    out[begin + i] += (now + along[i] * rise) * noise[i]
            begin += length


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def backward(
    first, last, since, hertz, amplitude, hiss, tables, position, count, rate, step, upstream,
    by_since, by_hertz, by_amplitude, by_hiss,
):  # fmt: skip
    kind = upstream.dtype
    along, sine, cosine = np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    s, c, turn, move = np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    frames = hertz.shape[1]
    behind = np.zeros(frames)  # the gradient of each frame's starting phase
    period = tables.shape[1] - BLOCK
    for voice in range(first, last):
        by_since[voice] = 0.0
        by_hertz[voice] = 0.0
        by_amplitude[voice] = 0.0
        by_hiss[voice] = 0.0
        behind[:] = 0.0
        begin, start, at = 0, 0.0, 0
        while begin < count[voice]:
            frame, length = stretch_of(begin, count[voice], since[voice], step, frames)
            while at < frame:
                start += 0.5 * (hertz[voice, at] + hertz[voice, at + 1]) / rate
                at += 1
            turns(begin, length, since[voice], step, frame, hertz[voice], start, rate, along, sine, cosine)
            up = upstream[voice, begin : begin + length]
            s[:length] = sine[:length]
            c[:length] = cosine[:length]
            turn[:length] = 0.0
            move[:length] = 0.0
            for k in range(heard(amplitude[voice], frame)):
                now, rise = amplitude[voice, frame, k], amplitude[voice, frame + 1, k] - amplitude[voice, frame, k]
                both, later = kind.type(0.0), kind.type(0.0)
                for i in range(length):
                    felt = up[i] * s[i]
                    both += felt
                    later += felt * along[i]
                    move[i] += rise * s[i]
                    turn[i] += (k + 1) * (now + along[i] * rise) * c[i]
                by_amplitude[voice, frame, k] += both - later
                by_amplitude[voice, frame + 1, k] += later
                rotate(length, sine, cosine, s, c)
            place = (position[voice] + begin) % period
            for band in range(tables.shape[0]):
                rise = hiss[voice, frame + 1, band] - hiss[voice, frame, band]
                noise = tables[band, place : place + length]
                both, later = kind.type(0.0), kind.type(0.0)
                for i in range(length):
                    felt = up[i] * noise[i]
                    both += felt
                    later += felt * along[i]
                    move[i] += rise * noise[i]
                by_hiss[voice, frame, band] += both - later
                by_hiss[voice, frame + 1, band] += later
            rising = hertz[voice, frame + 1] - hertz[voice, frame]
            for i in range(length):
                x = float(along[i])
                phase = 2.0 * math.pi * float(turn[i]) * float(up[i])
                behind[frame] += phase
                by_hertz[voice, frame] += phase * (x - 0.5 * x * x) / rate
                by_hertz[voice, frame + 1] += phase * 0.5 * x * x / rate
                by_since[voice] += phase * (hertz[voice, frame] + x * rising) / rate + float(move[i]) * float(up[i])
            begin += length
        later_phase = 0.0
        for frame in range(frames - 2, -1, -1):  # a frame's pitch moves the phases of all that follow
            later_phase += behind[frame + 1]
            by_hertz[voice, frame] += 0.5 * later_phase / rate
            by_hertz[voice, frame + 1] += 0.5 * later_phase / rate
