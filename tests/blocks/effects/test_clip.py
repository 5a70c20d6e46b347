"""The clippers against JUCE's and the published curve, at a rate free of aliasing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from distortions import RATE, aliasing, apart, at_high_rate, phrase, process, sine

Accuracy = Callable[..., None]


def test_hard_clipping_is_that_of_pedalboard(accuracy: Accuracy) -> None:
    pedalboard = pytest.importorskip("pedalboard")
    audio, threshold = phrase(), -9.0
    clipper = pedalboard.Clipping(threshold_db=threshold)
    expected = at_high_rate(audio, lambda high: clipper(high.astype(np.float32)[None], RATE)[0])
    output = process("effects/hard_clip", audio, drive=0.0, threshold=threshold)[0, 0].numpy()
    # the corner rounded by 1 %, and float32 there
    accuracy("effects/hard_clip", "pedalboard.Clipping at 32 times the rate", apart(output, expected), bound=-70.0)


def test_soft_clipping_is_the_quadratic_knee(accuracy: Accuracy) -> None:
    def law(high: np.ndarray) -> np.ndarray:
        u = 4.0 * high / 0.5
        size = np.abs(u)
        bent = np.where(size < 0.4, size, np.where(size > 1.6, 1.0, size - (size - 0.4) ** 2 / 2.4))
        return 0.5 * np.sign(u) * bent

    audio = phrase()
    values = {"drive": 20 * np.log10(4.0), "threshold": 20 * np.log10(0.5), "knee": 0.6}
    output = process("effects/soft_clip", audio, **values)[0, 0].numpy()
    # what first-order antialiasing leaves at four times the rate
    error = apart(output, at_high_rate(audio, law))
    accuracy("effects/soft_clip", "its curve at 32 times the rate", error, bound=-70.0)


@pytest.mark.parametrize(("name", "bound"), [("effects/hard_clip", -45.0), ("effects/soft_clip", -45.0)])
def test_aliasing(accuracy: Accuracy, name: str, bound: float) -> None:
    level = max(aliasing(name, drive=drive) for drive in (24.0, 48.0))  # at 48 dB a square wave
    accuracy(name, "aliasing, 5 kHz sine at full drive", level, bound=bound)


def test_peaks_stop_at_the_threshold_and_quiet_passes() -> None:
    loud = process("effects/hard_clip", sine(300.0), drive=20.0, threshold=-12.0)
    assert 10 ** (-12 / 20) < float(loud.abs().max()) < 1.2 * 10 ** (-12 / 20)
    quiet = 0.1 * phrase()
    assert float((process("effects/hard_clip", quiet, drive=0.0) - quiet).abs().max()) < 1e-7


def test_drive_moves_through_time() -> None:
    from hitchain import blocks

    block = blocks.create("effects/soft_clip", sample_rate=RATE)
    settings = block.defaults(1, torch.float64)
    settings["drive"] = torch.tensor([[0.0, 24.0]], dtype=torch.float64)
    output = block(sine(220.0, level=0.1), settings)[0, 0]
    assert float(output[-4000:].square().mean()) > 4.0 * float(output[:4000].square().mean())


def test_long_audio_in_stretches_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = 0.5 * torch.randn(1, 2, 3 * RATE // 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = process("effects/soft_clip", audio)
    monkeypatch.setattr("hitchain.blocks.dsp.distortion.STRETCH", 0.5)
    assert float((process("effects/soft_clip", audio) - whole).abs().max()) < 1e-4
