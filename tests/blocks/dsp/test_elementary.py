"""The compiled exponential and logarithm against NumPy's, in float64."""

from __future__ import annotations

import numpy as np

from hitchain.blocks.dsp import elementary_kernels as kernels


def test_exponential_is_numpys_within_two_roundings() -> None:
    """2 units in the last place, 4.4e-16 relative; beyond 700 it stays where it is."""
    values = np.concatenate([np.linspace(-700.0, 700.0, 4001), np.linspace(-1.0, 1.0, 4001), [0.0, -0.0]])
    measured = np.array([kernels.exp(value) for value in values])
    assert np.abs(measured / np.exp(values) - 1.0).max() <= 4.5e-16
    assert kernels.exp(0.0) == 1.0
    assert kernels.exp(1e9) == kernels.exp(700.0)
    assert kernels.exp(-1e9) == kernels.exp(-700.0)


def test_logarithm_is_numpys_within_two_roundings() -> None:
    """Relative to the logarithm itself, near 1 too, where it goes through zero."""
    values = np.concatenate([np.geomspace(1e-300, 1e300, 4001), 1.0 + np.linspace(-0.5, 0.7, 4001), [1.0 + 1e-12]])
    measured = np.array([kernels.log(value) for value in values])
    expected = np.log(values)
    assert np.abs(measured - expected).max() <= 2e-13  # of 690, at the ends
    assert (np.abs(measured - expected) <= 5e-16 * np.abs(expected)).all()
    assert kernels.log(1.0) == 0.0
