"""From floating point to whole numbers: dither and noise shaping for integer sound files.

    y = q round((x - s) / q + d),   s[n] = sum over k of c_k e[n - k],   e = y - (x - s)

q is one step of the integer format, d the dither. Rounding alone (d = 0) makes distortion of faint sounds; triangular
dither, the sum of two uniform draws of one step each, makes the error's mean and power the same whatever the sound
(Lipshitz, Wannamaker and Vanderkooy, "Quantization and dither: a theoretical survey", JAES 1992): white noise of
q^2 / 4. Shaping moves that noise to where the ear hears it least: its spectrum is multiplied by
|1 - sum of c_k z^-k|^2, with the nine-tap F-weighted filter of R. A. Wannamaker ("Psychoacoustically optimal noise
shaping", JAES 1992), designed for 44.1 kHz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hitchain.errors import UserError, nearest

if TYPE_CHECKING:
    import numpy as np
    import torch

KINDS = ("none", "tpdf", "shaped")
BITS = {"PCM_16": 16, "PCM_24": 24}
"""The integer formats, by their libsndfile names."""

SHAPING = (2.412, -3.370, 3.937, -4.174, 3.353, -2.205, 1.281, -0.569, 0.0847)
"""c_1 to c_9."""
SHAPED_RATES = (44_100, 48_000)


def check(kind: str, sample_rate: int) -> None:
    """Raise `UserError` where there is no such dither, or it does not suit the sample rate."""
    if kind not in KINDS:
        raise UserError(f"dither={kind}: {nearest(kind, KINDS)}")
    if kind == "shaped" and sample_rate not in SHAPED_RATES:
        raise UserError(
            f"dither=shaped is designed for 44100 and 48000 Hz, not {sample_rate}; take dither=tpdf, or another "
            "sample_rate."
        )


def quantise(audio: torch.Tensor, bits: int, kind: str, seed: int = 0) -> np.ndarray[Any, Any]:
    """Audio (channels, samples) as whole numbers of `bits` bits: int32 (channels, samples), clipped at full scale.

    Args:
        kind: "none" (rounding alone), "tpdf" or "shaped".
        seed: of the dither; each channel has its own.
    """
    import numpy as np

    steps = 2 ** (bits - 1)
    scaled = audio.detach().cpu().double().numpy() * steps
    dither = np.zeros_like(scaled)
    if kind != "none":
        generator = np.random.default_rng(seed)
        dither = generator.random(scaled.shape) - generator.random(scaled.shape)
    if kind != "shaped":
        whole: np.ndarray[Any, Any] = np.clip(np.rint(scaled + dither), -steps, steps - 1).astype(np.int32)
        return whole
    from hitchain.dither_kernels import shaped

    result: np.ndarray[Any, Any] = shaped(scaled, dither, np.array(SHAPING), steps)
    return result
