"""Acoustics against published tables and closed forms worked out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch

from hitchain.blocks.dsp import acoustics

# ISO 9613-2:1996, table 2: attenuation [dB/km] at the octave bands 63 Hz to 8 kHz, by temperature [C] and humidity [%].
BANDS = 1000.0 * 10.0 ** (0.3 * np.arange(-4, 4))
PUBLISHED = {
    (10.0, 70.0): (0.1, 0.4, 1.0, 1.9, 3.7, 9.7, 32.8, 117.0),
    (20.0, 70.0): (0.1, 0.3, 1.1, 2.8, 5.0, 9.0, 22.9, 76.6),
    (30.0, 70.0): (0.1, 0.3, 1.0, 3.1, 7.4, 12.7, 23.1, 59.3),
    (15.0, 20.0): (0.3, 0.6, 1.2, 2.7, 8.2, 28.2, 88.8, 202.0),
    (15.0, 50.0): (0.1, 0.5, 1.2, 2.2, 4.2, 10.8, 36.2, 129.0),
    (15.0, 80.0): (0.1, 0.3, 1.1, 2.4, 4.1, 8.3, 23.7, 82.8),
}


@pytest.mark.parametrize(("weather", "published"), PUBLISHED.items())
def test_air_absorption_is_the_standards_table(weather: tuple[float, float], published: tuple[float, ...]) -> None:
    """The table gives one decimal or three digits: 0.06 dB/km or 1 %."""
    measured = 1000.0 * acoustics.air_absorption(torch.from_numpy(BANDS), *weather).numpy()
    assert measured == pytest.approx(published, abs=0.06, rel=0.01)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_level_falls_by_6_db_for_a_doubled_distance() -> None:
    frequency = torch.tensor([100.0], dtype=torch.float64)
    levels = 20 * acoustics.propagation(frequency, column(0.3, 0.6, 3.0), 0.3).abs().log10().squeeze()
    assert levels.tolist() == pytest.approx([0.0, -20 * math.log10(2.0), -20.0], abs=0.01)


def test_delay_is_distance_over_the_speed_of_sound() -> None:
    """The group delay, by the phase's slope."""
    frequency = torch.tensor([1000.0, 1001.0], dtype=torch.float64)
    wave = acoustics.propagation(frequency, column(3.432), 0.3)
    delay = -torch.angle(wave[:, 1] / wave[:, 0]) / (2 * math.pi)
    assert delay.item() == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize(("pattern", "expected"), [(0.0, 0.0), (0.5, 14.9), (1.0, 20.8)])
def test_proximity_effect_at_5_cm_and_100_hz(pattern: float, expected: float) -> None:
    """|(1 - p) + p (1 + 1 / (j k r))|, k r = 0.0915: worked out by hand. The coupling at 10 Hz moves it by 0.11 dB
    at most."""
    frequency = torch.tensor([100.0], dtype=torch.float64)
    heard = acoustics.first_order_pattern(frequency, column(pattern), column(1.0), column(0.05))
    wave_number = 2 * math.pi * 100.0 / 343.2
    exact = 20 * math.log10(abs((1 - pattern) + pattern * (1 + 1 / (1j * wave_number * 0.05))))
    assert exact == pytest.approx(expected, abs=0.05)
    assert 20 * math.log10(heard.abs().item()) == pytest.approx(exact, abs=0.12)


@pytest.mark.parametrize("degrees", [0.0, 60.0, 90.0, 120.0, 180.0])
def test_patterns_far_away(degrees: float) -> None:
    """Cardioid (1 + cos) / 2, figure of eight cos, omnidirectional 1."""
    cosine = math.cos(math.radians(degrees))
    frequency = torch.tensor([5000.0], dtype=torch.float64)
    heard = acoustics.first_order_pattern(frequency, column(0.0, 0.5, 1.0), column(cosine), column(1000.0))
    assert heard.real.squeeze().tolist() == pytest.approx([1.0, (1 + cosine) / 2, cosine], abs=1e-4)
    assert heard.imag.abs().max().item() < 1e-4


@pytest.mark.parametrize("pattern", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_diffuse_sensitivity_is_the_mean_over_the_sphere(pattern: float) -> None:
    mean, _ = scipy.integrate.quad(lambda a: ((1 - pattern) + pattern * math.cos(a)) ** 2 * math.sin(a) / 2, 0, math.pi)
    assert acoustics.diffuse_sensitivity(torch.tensor(pattern)).item() == pytest.approx(math.sqrt(mean), rel=1e-6)


def test_capsule_loss_is_a_discs_where_it_is_small() -> None:
    """2 J1(x) / x, within 0.1 dB up to x = 1, and falling on where the disc has its first null (x = 3.83)."""
    frequency = torch.linspace(100.0, 20000.0, 200, dtype=torch.float64)
    loss = acoustics.capsule_loss(frequency, 0.0127, column(math.sin(math.radians(45.0))))[0].numpy()
    x = 2 * np.pi * frequency.numpy() / 343.2 * 0.0127 * math.sin(math.radians(45.0))
    disc = 2 * scipy.special.j1(x) / x
    assert np.abs(20 * np.log10(loss / disc))[x < 1.0].max() < 0.1
    assert (np.diff(loss) < 0).all()


def test_floor_image_geometry() -> None:
    """A 3-4-5 triangle: 3 m apart, 2 m high."""
    path, elevation = acoustics.floor_image(column(3.0), column(2.0))
    assert path.item() == pytest.approx(5.0)
    assert math.tan(elevation.item()) == pytest.approx(4.0 / 3.0)


def microphone(bins: int) -> tuple[list[torch.Tensor], acoustics.Capsules]:
    """Two batch items, three paths, two types: `Waves`, weights, diffuse sound; and the capsules."""
    generator = torch.Generator().manual_seed(0)

    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    given = [between(0.1, 0.9, 2, 1), between(0.0, 1.5, 2, 3), between(0.05, 4.0, 2, 3), between(0.1, 1.0, 2, 3)]
    given += [between(0.1, 1.0, 2, 2), torch.randn(2, bins, generator=generator, dtype=torch.complex128)]
    curves = torch.randn(2, bins, generator=generator, dtype=torch.complex128)
    return [value.requires_grad_() for value in given], acoustics.Capsules(curves, (0.011, 0.006))


@pytest.mark.parametrize("fused", [True, False])
def test_heard_waves_are_the_product_of_their_formulas(fused: bool) -> None:
    n_fft, rate = 3000, 44100
    (pattern, angle, distance, amplitude, weights, diffuse), capsules = microphone(n_fft // 2 + 1)
    waves = acoustics.Waves(pattern, angle, distance, amplitude)
    result = acoustics.heard_waves(waves, weights, diffuse, capsules, n_fft, rate, fused)
    frequency = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * rate / n_fft
    expected = torch.zeros_like(diffuse)
    for kind, radius in enumerate(capsules.radii):
        heard = diffuse
        for path in range(3):
            a, r, gain = (value[:, path, None] for value in (angle, distance, amplitude))
            wave = acoustics.first_order_pattern(frequency, pattern, torch.cos(a), r)
            wave = wave * acoustics.propagation(frequency, r, 1.0) * gain
            heard = heard + wave * acoustics.capsule_loss(frequency, radius, torch.sin(a))
        expected = expected + weights[:, kind, None] * capsules.curves[kind] * heard
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fused", [True, False])
def test_heard_waves_gradients(fused: bool) -> None:
    given, capsules = microphone(12)

    def heard(*values: torch.Tensor) -> torch.Tensor:
        return acoustics.heard_waves(acoustics.Waves(*values[:4]), *values[4:], capsules, 22, 44100, fused)

    assert torch.autograd.gradcheck(heard, given)


def test_heard_waves_gradients_over_many_blocks() -> None:
    given, capsules = microphone(1501)
    cotangent = torch.randn(2, 1501, generator=torch.Generator().manual_seed(1), dtype=torch.complex128)
    grads = []
    for fused in (True, False):
        waves = acoustics.Waves(*given[:4])
        heard = acoustics.heard_waves(waves, *given[4:], capsules, 3000, 44100, fused)
        grads.append(torch.autograd.grad(heard, given, cotangent))
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-9)
