"""The ADSR envelope against a loop over samples, and its gradients."""

from __future__ import annotations

import math

import pytest
import torch

from hitchain.blocks.dsp.envelopes import adsr, adsr_reference

RATE = 10000
CASES = {
    # since, duration, attack, decay, sustain, release: times that fall on no sample
    "held": (-0.00123, 0.0213171, 0.0041171, 0.0101, 0.3, 0.0101131),
    "let go in the attack": (0.0000311, 0.0051717, 0.0110171, 0.0301, 0.6, 0.0201717),
    "begun before the window": (0.0120171, 0.0201717, 0.0041717, 0.0203, 0.2, 0.0100171),
    "in its release": (0.0220171, 0.0201717, 0.0041717, 0.0203, 0.2, 0.0300171),
}


def _loop(since: float, duration: float, attack: float, decay: float, sustain: float, release: float) -> list[float]:
    """A state machine as in an envelope generator; 99 % of the decay and of the release in the stated times."""
    levels = []
    for n in range(500):
        time = since + n / RATE
        held = max(min(time, duration), 0.0)
        level = held / attack if held < attack else sustain + (1 - sustain) * 0.01 ** ((held - attack) / decay)
        if time > duration:
            way = (time - duration) / release
            level = level * (0.01**way - 0.01) / (1 - 0.01) if way < 1 else 0.0
        levels.append(level)
    return levels


@pytest.mark.parametrize("case", CASES)
def test_equals_a_loop(case: str) -> None:
    values = [torch.tensor([value], dtype=torch.float64) for value in CASES[case]]
    expected = torch.tensor([_loop(*CASES[case])], dtype=torch.float64)
    torch.testing.assert_close(adsr(*values, RATE, 500), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(adsr_reference(*values, RATE, 500), expected, atol=1e-12, rtol=0)


def test_gradients() -> None:
    columns = zip(*CASES.values(), strict=True)
    values = [torch.tensor(column, dtype=torch.float64, requires_grad=True) for column in columns]
    assert torch.autograd.gradcheck(lambda *v: adsr(*v, RATE, 120), values, eps=1e-8, atol=1e-3, rtol=1e-4)


def test_is_continuous_and_ends_in_silence() -> None:
    values = [torch.tensor([value], dtype=torch.float64) for value in (0.0, 0.1, 0.001, 0.05, 0.5, 0.02)]
    level = adsr(*values, 192000, 192000 // 5)[0]
    assert level.diff().abs().max() < 1.01 / (0.001 * 192000)  # the attack is the steepest part
    assert level[0] == 0
    assert level[math.ceil(0.12 * 192000) :].abs().max() < 1e-15  # rounding where the release ends on a sample
