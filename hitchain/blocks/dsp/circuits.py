"""Analogue circuits: the tone stack of a valve amplifier, the coupling between its stages, filter prototypes.

The tone stack is the bass, middle and treble network of the 1959 Fender Bassman 5F6-A (Marshall's and many others are
the same circuit with other values):

    in --C1--+------------------.
    |       R1 treble <-- out   |
    R4       |                      out: the treble pot's wiper
    |---C2---+--R2 bass (a rheostat)--+
    |---C3------> wiper of R3 middle -+- R3 -- ground

D. T. Yeh, J. O. Smith, "Discretization of the '59 Fender Bassman tone stack", DAFx-06, gives its transfer function in
closed form, H(s) = (b1 s + b2 s^2 + b3 s^3) / (a0 + a1 s + a2 s^2 + a3 s^3), driven by an ideal source and not loaded.
The knobs are not independent of each other, nor is any position flat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from hitchain.blocks.dsp.fft import apply_response, fast_length
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.threads import over_rows


@dataclass(frozen=True)
class ToneStack:
    """The component values of a tone stack, in ohms and farads."""

    treble: float
    bass: float
    middle: float
    series: float
    treble_capacitor: float
    bass_capacitor: float
    middle_capacitor: float


BASSMAN = ToneStack(250e3, 1e6, 25e3, 56e3, 250e-12, 20e-9, 20e-9)
"""Fender Bassman 5F6-A (1959)."""


def tone_stack(bass: Tensor, middle: Tensor, treble: Tensor, circuit: ToneStack = BASSMAN) -> tuple[Tensor, Tensor]:
    """The transfer function of the tone stack (Yeh and Smith 2006, equations 1 and 2).

    Args:
        bass, middle, treble: positions of the pots, (batch,), 0 to 1. The bass pot has a logarithmic taper,
            R = R2 exp(3.4 (bass - 1)), as in the paper; the others are linear.

    Returns:
        numerator and denominator, each (batch, 4): the coefficients of (s / 1000)^0 to (s / 1000)^3, s in radians per
        second. The scale keeps them within the range of float32.
    """
    low, mid, high = torch.exp(3.4 * (bass - 1.0)), middle, treble
    r1, r2, r3, r4 = circuit.treble, circuit.bass, circuit.middle, circuit.series
    # Milliseconds in place of seconds: each capacitance comes with one power of s.
    c1, c2, c3 = (1e3 * c for c in (circuit.treble_capacitor, circuit.bass_capacitor, circuit.middle_capacitor))
    c12, c13, c23, c123 = c1 * c2, c1 * c3, c2 * c3, c1 * c2 * c3

    b1 = high * c1 * r1 + mid * c3 * r3 + low * (c1 + c2) * r2 + (c1 + c2) * r3
    b2 = (
        high * (c12 + c13) * r1 * r4
        - mid**2 * (c13 + c23) * r3**2
        + mid * (c13 * r1 * r3 + (c13 + c23) * r3**2)
        + low * (c12 * r1 * r2 + (c12 + c13) * r2 * r4)
        + low * mid * (c13 + c23) * r2 * r3
        + (c12 * r1 * r3 + (c12 + c13) * r3 * r4)
    )
    b3 = c123 * (
        low * mid * (r1 * r2 * r3 + r2 * r3 * r4)
        + (mid - mid**2) * (r1 * r3**2 + r3**2 * r4)
        + high * (1.0 - mid) * r1 * r3 * r4
        + high * low * r1 * r2 * r4
    )
    a1 = (c1 * r1 + (c1 + c2) * r3 + (c2 + c3) * r4) + mid * c3 * r3 + low * (c1 + c2) * r2
    a2 = (
        mid * (c13 * r1 * r3 - c23 * r3 * r4 + (c13 + c23) * r3**2)
        + low * mid * (c13 + c23) * r2 * r3
        - mid**2 * (c13 + c23) * r3**2
        + low * ((c12 + c13 + c23) * r2 * r4 + c12 * r1 * r2)
        + ((c12 + c13) * r1 * r4 + (c12 + c13 + c23) * r3 * r4 + c12 * r1 * r3)
    )
    a3 = c123 * (
        low * mid * (r1 * r2 * r3 + r2 * r3 * r4)
        + (mid - mid**2) * (r1 * r3**2 + r3**2 * r4)
        - mid * r1 * r3 * r4
        + low * r1 * r2 * r4
        + r1 * r3 * r4
    )
    numerator = torch.stack([torch.zeros_like(b1), b1, b2, b3], dim=-1)
    denominator = torch.stack([torch.ones_like(a1), a1, a2, a3], dim=-1)
    return numerator, denominator


def rational(numerator: Tensor, denominator: Tensor, frequencies: Tensor) -> Tensor:
    """A rational transfer function on the imaginary axis: the exact response of the analogue circuit.

    Args:
        numerator, denominator: (batch, order + 1), coefficients of (s / 1000)^0, (s / 1000)^1, ...
        frequencies: (bins,) in Hz.

    Returns:
        complex (batch, bins).
    """
    powers = _powers(frequencies, max(numerator.shape[-1], denominator.shape[-1]))
    return _on_axis(numerator, powers) / _on_axis(denominator, powers)


def filter_spectrum(
    spectrum: Tensor,
    numerator: Tensor,
    denominator: Tensor,
    constant: Tensor,
    spacing: float,
    fused: bool | None = None,
) -> Tensor:
    """A signal's spectrum through a rational transfer function and a constant response, in one pass.

    Args:
        spectrum: complex (batch, channels, bins), from 0 Hz.
        numerator, denominator: (batch, up to 4), as in `rational`.
        constant: complex (bins,).
        spacing: from bin to bin [Hz].
        fused: the compiled kernel instead of tensor operations; by default on CPU.

    Returns:
        constant * numerator / denominator * spectrum. Differentiable, once if fused, in all but the constant.
    """
    if spectrum.device.type == "cpu" if fused is None else fused:
        coefficients = [pad(value, (0, 4 - value.shape[-1])) for value in (numerator, denominator)]
        filtered: Tensor = _FilterSpectrum.apply(  # type: ignore[no-untyped-call]
            spectrum, *coefficients, constant, spacing * (2.0 * math.pi / 1e3)
        )
        return filtered
    hertz = spacing * torch.arange(spectrum.shape[-1], dtype=numerator.dtype, device=numerator.device)
    return spectrum * (constant * rational(numerator, denominator, hertz)).unsqueeze(1)


class _FilterSpectrum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, spectrum: Tensor, numerator: Tensor, denominator: Tensor, constant: Tensor, step: float
    ) -> Tensor:
        from hitchain.blocks.dsp import circuits_kernels as kernels

        ctx.save_for_backward(spectrum, numerator, denominator, constant)
        ctx.step = step
        result = torch.empty_like(spectrum, memory_format=torch.contiguous_format)
        given = _arrays(spectrum, numerator, denominator, constant)
        over_rows(kernels.filter_spectrum, len(spectrum), *given, step, 1.0, result.numpy())
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from hitchain.blocks.dsp import circuits_kernels as kernels

        spectrum, *fixed = _arrays(*ctx.saved_tensors)
        (given,) = _arrays(grad)
        grad_spectrum = torch.empty_like(grad, memory_format=torch.contiguous_format)
        over_rows(kernels.filter_spectrum, len(grad), given, *fixed, ctx.step, -1.0, grad_spectrum.numpy())
        sums = torch.zeros(len(grad), 8, dtype=torch.float64)
        over_rows(kernels.coefficient_gradients, len(grad), spectrum, *fixed, ctx.step, given, sums.numpy())
        sums = sums.to(ctx.saved_tensors[1].dtype)
        return grad_spectrum, sums[:, :4], sums[:, 4:], None, None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().resolve_conj().contiguous().numpy() for tensor in tensors]


def _powers(frequencies: Tensor, count: int) -> Tensor:
    axis = frequencies * (2.0 * math.pi / 1e3)
    return torch.stack([axis**power for power in range(count)])


def _on_axis(coefficients: Tensor, powers: Tensor) -> Tensor:
    """The even powers of j w are real, the odd ones imaginary, with alternating signs."""
    signs = coefficients.new_tensor([(1.0, 1.0, -1.0, -1.0)[power % 4] for power in range(coefficients.shape[-1])])
    signed = coefficients * signs
    count = coefficients.shape[-1]
    return torch.complex(signed[:, 0::2] @ powers[0:count:2], signed[:, 1::2] @ powers[1:count:2])


def warped(hertz: Tensor, corner: Tensor, sample_rate: int) -> Tensor:
    """The frequency w for a prototype with its corner at 1, pre-warped: tan(pi f / fs) / tan(pi corner / fs).

    A prototype evaluated at s = j w is exactly the response of the digital filter that the bilinear transform makes of
    it: causal, stable, and with its corner where it should be (`filters.bounded_frequency` where the rate cannot hold
    it). Any broadcastable shapes.
    """
    return warped_axis(hertz, sample_rate) / torch.tan(bounded_frequency(corner, sample_rate) * (math.pi / sample_rate))


def warped_axis(hertz: Tensor, sample_rate: int) -> Tensor:
    """tan(pi f / sample_rate), short of the pole at the Nyquist frequency."""
    angle = (hertz.double() * (math.pi / sample_rate)).clamp(max=math.pi / 2.0 - 1e-5)
    return torch.tan(angle).to(hertz)


def butterworth(w: Tensor, order: int) -> Tensor:
    """A Butterworth low-pass of even order with its corner at w = 1, a product of 1 / (1 - w^2 + 2 j w sin(angle))."""
    response = torch.ones_like(w) + 0j
    for pair in range(order // 2):
        damping = 2.0 * math.sin(math.pi * (2 * pair + 1) / (2 * order))
        response = response / torch.complex(1.0 - w.square(), damping * w)
    return response


def section_product(sections: Tensor, axis: Tensor, fused: bool | None = None) -> Tensor:
    """A cascade of second-order sections (n0 + n1 s + n2 s^2) / (d0 + d1 s + d2 s^2) on the axis s = j w.

    Args:
        sections: (batch, sections, 6): n0, n1, n2, d0, d1, d2.
        axis: w, (bins,), for example `warped_axis`, for what `section` makes.
        fused: the compiled kernel instead of tensor operations; by default on CPU.

    Returns:
        Complex (batch, bins), of the axis's type. Differentiable (once, if fused) in the sections.
    """
    if axis.device.type == "cpu" if fused is None else fused:
        result: Tensor = _SectionProduct.apply(sections.double(), axis)  # type: ignore[no-untyped-call]
        return result
    n0, n1, n2, d0, d1, d2 = sections.to(axis).unsqueeze(-1).unbind(2)
    square = axis.square()
    ratios = torch.complex(n0 - n2 * square, n1 * axis) / torch.complex(d0 - d2 * square, d1 * axis)
    return ratios.prod(dim=1)


class _SectionProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sections: Tensor, axis: Tensor) -> Tensor:
        from hitchain.blocks.dsp import circuits_kernels as kernels

        ctx.save_for_backward(sections, axis)
        response = torch.empty(len(sections), len(axis), dtype=axis.dtype.to_complex())
        tasks = len(sections) * -(-len(axis) // kernels.BLOCK)
        over_rows(kernels.sections_forward, tasks, *_arrays(sections, axis), response.numpy())
        return response

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        from hitchain.blocks.dsp import circuits_kernels as kernels

        sections, axis = ctx.saved_tensors
        parts = torch.empty(len(sections), -(-len(axis) // kernels.BLOCK), *sections.shape[1:], dtype=torch.float64)
        tasks = parts.flatten(0, 1)
        over_rows(kernels.sections_backward, len(tasks), *_arrays(sections, axis, grad), tasks.numpy())
        return parts.sum(dim=1), None


def section(
    corner: Tensor, sample_rate: int, numerator: tuple[Tensor | float, ...], denominator: tuple[Tensor | float, ...]
) -> Tensor:
    """Coefficients in p = s / corner as one section in the warped s = j tan(pi f / sample_rate): (batch, 6).

    Args:
        corner: [Hz], (batch,).
        numerator, denominator: of p^0, p^1, p^2, each a number or (batch,).
    """
    scale = 1.0 / torch.tan(bounded_frequency(corner.double(), sample_rate) * (math.pi / sample_rate))
    powers = (torch.ones_like(scale), scale, scale.square())
    return torch.stack(
        [value * power for side in (numerator, denominator) for value, power in zip(side, powers, strict=True)], -1
    )


def butterworth_sections(corner: Tensor, order: int, sample_rate: int) -> list[Tensor]:
    """`butterworth` as sections for `section_product`."""
    dampings = [2.0 * math.sin(math.pi * (2 * pair + 1) / (2 * order)) for pair in range(order // 2)]
    return [section(corner, sample_rate, (1.0, 0.0, 0.0), (1.0, damping, 1.0)) for damping in dampings]


def coupling(audio: Tensor, low: float, high: float, sample_rate: float) -> Tensor:
    """What stands between two valves: a coupling capacitor that blocks DC, and the Miller capacitance of the next grid.

        slow[t] = slow[t-1] + A (x[t] - slow[t-1]),           A = 1 - exp(-2 pi low / sample_rate)
        y[t] = y[t-1] + B (x[t] - slow[t] - y[t-1]),          B = 1 - exp(-2 pi high / sample_rate)

    Args:
        audio: (..., samples).
        low, high: corner frequencies [Hz] of the one-pole high-pass and low-pass.
    """
    blocking, passing = (1.0 - math.exp(-2.0 * math.pi * corner / sample_rate) for corner in (low, high))
    if audio.device.type == "cpu":
        filtered: Tensor = _Coupling.apply(audio, blocking, passing)  # type: ignore[no-untyped-call]
        return filtered
    return coupling_parallel(audio, low, high, sample_rate)


def coupling_parallel(audio: Tensor, low: float, high: float, sample_rate: float) -> Tensor:
    """`coupling` by FFT: what runs on a GPU."""
    blocking, passing = (1.0 - math.exp(-2.0 * math.pi * corner / sample_rate) for corner in (low, high))
    decay = math.ceil(11.0 * sample_rate / (2.0 * math.pi * low))  # to -95 dB
    n_fft = fast_length(audio.shape[-1] + decay)
    angle = torch.arange(n_fft // 2 + 1, dtype=audio.dtype, device=audio.device) * (2.0 * math.pi / n_fft)
    late = torch.polar(torch.ones_like(angle), -angle)
    response = (1.0 - blocking) * (1.0 - late) / (1.0 - (1.0 - blocking) * late)
    return apply_response(audio, response * passing / (1.0 - (1.0 - passing) * late), n_fft)


class _Coupling(torch.autograd.Function):
    """The two recursions in one compiled pass; their adjoint is the same pass from the end to the start."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, blocking: float, passing: float) -> Tensor:
        ctx.coefficients = (blocking, passing)
        return _band_pass(audio, blocking, passing, backwards=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        blocking, passing = ctx.coefficients
        return _band_pass(grad, blocking, passing, backwards=True), None, None


def _band_pass(audio: Tensor, blocking: float, passing: float, backwards: bool) -> Tensor:
    from hitchain.blocks.dsp import circuits_kernels as kernels

    rows = audio.detach().contiguous().reshape(-1, audio.shape[-1])
    result = torch.empty_like(rows)
    arguments = (rows.numpy(), blocking, passing, backwards, result.numpy())
    over_rows(kernels.band_pass, len(rows), *arguments)
    return result.reshape(audio.shape)
