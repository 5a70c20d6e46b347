"""The limiter at work: loudness by pyloudnorm, true peak by scipy, gradients of the implicit gain by differences."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pedalboard
import pyloudnorm
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.blocks.dsp.loudness import integrated_loudness, true_peak
from hitchain.blocks.mastering.limiter import Limiter
from hitchain.files import read_audio

MUSIC = Path(__file__).resolve().parents[4] / "shared" / "data" / "music"
RATE = 44100


def beats(seconds: float = 4.0, sample_rate: int = RATE, channels: int = 2) -> torch.Tensor:
    """Decaying noise bursts twice a second over a chord: a crest factor of about 20 dB, -25 LUFS.

    The noise ends at 0.4 of the rate: what a peak between samples is, nearer the Nyquist frequency, is up to the filter
    of whoever looks (white noise read by scipy's passes the ceiling by 0.5 dB, a sine there by 0.7)."""
    generator = np.random.default_rng(0)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (110.0, 164.8, 277.2)) * 0.03
    bursts = generator.standard_normal((channels, time.size)) * np.exp(-40.0 * (time % 0.5)) * 0.3
    bursts = scipy.signal.sosfilt(scipy.signal.cheby2(12, 80.0, 0.85, output="sos"), bursts, axis=-1)
    balance = np.array([[1.0], [0.8]])[:channels]  # equal channels would tie in the detector: a corner at every peak
    return torch.from_numpy((chord * balance + bursts).astype(np.float32))[None]


def limit(audio: torch.Tensor, sample_rate: int = RATE, **knobs: float) -> torch.Tensor:
    block = Limiter(sample_rate)
    chosen = block.defaults(audio.shape[0], audio.dtype)
    return block(audio, {**chosen, **{key: torch.full_like(chosen[key], value) for key, value in knobs.items()}})


def independent_true_peak(audio: torch.Tensor, oversampling: int = 16) -> float:
    """[dBTP] by polyphase resampling with scipy's filter, not ours."""
    raised = scipy.signal.resample_poly(audio.double().numpy(), oversampling, 1, axis=-1, window=("kaiser", 10.0))
    return float(20 * np.log10(np.abs(raised).max()))


@pytest.mark.parametrize(("target", "ceiling"), [(-24.0, -3.0), (-14.0, -1.0), (-9.0, -1.0)])
@pytest.mark.parametrize(("sample_rate", "channels"), [(44100, 2), (44100, 1), (48000, 2), (22050, 2), (96000, 1)])
def test_reaches_the_target_under_the_ceiling(sample_rate: int, channels: int, target: float, ceiling: float) -> None:
    """Loudness within 0.1 LU by pyloudnorm (which reads 0.04 to 0.08 LU lower than the standard). At 16 times the rate,
    0.05 dB is allowed for what falls between the points of the limiter's four."""
    output = limit(beats(2.0, sample_rate, channels), sample_rate, target=target, ceiling=ceiling)
    measured = pyloudnorm.Meter(sample_rate).integrated_loudness(output[0].T.double().numpy())
    assert measured == pytest.approx(target, abs=0.1)
    assert true_peak(output, sample_rate).item() <= ceiling
    assert independent_true_peak(output) <= ceiling + 0.05


@pytest.mark.parametrize("target", [-14.0, -9.0, -6.0])
def test_real_music(target: float) -> None:
    """Full stereo mixes reach even -6 LUFS. 0.1 LU and 0.05 dB as above."""
    files = sorted((MUSIC / "beatgame").glob("*.ogg"))[:2] + sorted((MUSIC / "instruments").glob("music.*"))
    if not files:
        pytest.skip("the recordings are not beside the repository")
    for file in files:
        audio, rate = read_audio(file)
        output = limit(audio[None, :, : 8 * rate], rate, target=target)
        measured = pyloudnorm.Meter(rate).integrated_loudness(output[0].T.double().numpy())
        assert measured == pytest.approx(target, abs=0.1), file.name
        assert true_peak(output, rate).item() <= -1.0, file.name
        assert independent_true_peak(output) <= -0.95, file.name


def test_what_needs_no_limiting_only_changes_level() -> None:
    audio = beats()
    output = limit(audio, target=-30.0, ceiling=0.0)
    gain = (output * audio).sum() / audio.square().sum()
    assert torch.allclose(output, gain * audio, atol=1e-6)


def test_a_peaky_track_is_limited_hard_within_reach() -> None:
    """40 dB of crest: the gain is found where the limiter takes 20 dB off the beats."""
    audio = beats() * 0.1
    audio[..., ::RATE] += 1.0
    assert integrated_loudness(limit(audio, target=-10.0), RATE).item() == pytest.approx(-10.0, abs=0.05)


def test_out_of_reach_the_gain_stops() -> None:
    """A lone click cannot be loud: 40 dB more is all it gets."""
    click = torch.zeros(1, 2, RATE)
    click[..., 1000] = 1e-3
    assert torch.allclose(limit(click), 100.0 * click)
    faint = 1e-6 * beats()
    assert torch.allclose(limit(faint), 100.0 * faint)


def test_as_loud_as_another_limiter_with_fewer_peaks() -> None:
    """Brought to the loudness that pedalboard's (JUCE's) limiter gives 13 dB up, ours is nearly the same signal (its
    envelope within 2 dB on average), and keeps to the ceiling between the samples, where JUCE's has no detector."""
    audio = beats()
    chain = pedalboard.Pedalboard([pedalboard.Gain(13.0), pedalboard.Limiter(-1.0, 100.0)])
    theirs = torch.from_numpy(chain(audio[0].numpy(), RATE))[None]
    ours = limit(audio, target=integrated_loudness(theirs, RATE).item(), ceiling=-1.0, release=100.0)
    levels = [
        20 * torch.log10(x[..., : RATE * 3].unflatten(-1, (-1, 441)).square().mean(-1).sqrt()) for x in (theirs, ours)
    ]
    assert (levels[0] - levels[1]).abs().mean() < 2.0
    assert independent_true_peak(ours) <= -0.95
    assert independent_true_peak(theirs) > independent_true_peak(ours)


@pytest.mark.parametrize("target", [-20.0, -8.0])
def test_gradient_through_the_implicit_gain(target: float) -> None:
    """With respect to the audio and every parameter, by central differences in float64 along one direction: 1e-5. A
    smaller step is tried too because the detector has corners, where two samples are as high."""
    audio = beats(0.6, 8000).double()
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(audio.shape, generator=generator, dtype=torch.float64)
    block = Limiter(8000)
    start = {**block.defaults(1, torch.float64), "target": torch.tensor([target], dtype=torch.float64), "audio": audio}
    for key, value in start.items():
        direction = torch.randn(value.shape, generator=generator, dtype=torch.float64) * value.abs().max()

        def loss(moved: torch.Tensor, key: str = key) -> torch.Tensor:
            given = {**start, key: moved}
            return (weight * block(given.pop("audio"), given)).sum()

        moved = value.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(moved), moved)
        slope = (gradient * direction).sum().item()
        with torch.no_grad():
            differences = [
                (loss(value + step * direction) - loss(value - step * direction)).item() / (2 * step)
                for step in (1e-6, 1e-7)
            ]
        assert min(abs(slope - difference) for difference in differences) <= 1e-5 * abs(slope) + 1e-6, key


def test_loudness_does_not_move_with_the_input_level() -> None:
    """The gain makes up for it: the gradient of the output's loudness along the input itself is zero."""
    audio = beats(1.0).requires_grad_()
    (gradient,) = torch.autograd.grad(integrated_loudness(limit(audio, target=-12.0), RATE).sum(), audio)
    assert abs((gradient * audio).sum().item()) < 1e-3  # LU for a doubling, 6 LU without


@pytest.mark.parametrize("samples", [1, 100, 4000, 17639])
def test_windows_shorter_than_a_loudness_block(samples: int) -> None:
    output = limit(beats(1.0)[..., 3000 : 3000 + samples], target=-16.0)
    assert output.shape[-1] == samples
    assert output.isfinite().all()
    assert true_peak(output, RATE).item() <= -1.0
    if samples >= 100:
        assert integrated_loudness(output, RATE).item() == pytest.approx(-16.0, abs=0.05)


@settings(max_examples=12)
@given(
    kind=st.sampled_from(["silence", "constant", "impulse", "noise", "one"]),
    channels=st.integers(1, 2),
    target=st.floats(-30.0, -6.0),
    ceiling=st.floats(-6.0, 0.0),
    release=st.floats(10.0, 1000.0),
)
def test_properties(kind: str, channels: int, target: float, ceiling: float, release: float) -> None:
    """Finite, under the ceiling, silence to silence, items apart, with finite gradients."""
    samples = 1 if kind == "one" else 5000
    audio = {
        "silence": torch.zeros(2, channels, samples),
        "constant": torch.full((2, channels, samples), 0.5),
        "impulse": torch.nn.functional.one_hot(torch.tensor(samples // 2), samples).float().expand(2, channels, -1),
        "noise": torch.rand(2, channels, samples, generator=torch.Generator().manual_seed(1)) * 2 - 1,
        "one": torch.ones(2, channels, 1),
    }[kind].clone()
    audio[1] *= 0.1
    audio.requires_grad_()
    output = limit(audio, target=target, ceiling=ceiling, release=release)
    assert output.isfinite().all()
    assert (true_peak(output, RATE) <= ceiling + 0.05).all()
    assert torch.autograd.grad(output.square().sum(), audio)[0].isfinite().all()
    assert kind != "silence" or output.abs().max() == 0
    alone = limit(audio[:1], target=target, ceiling=ceiling, release=release)
    assert torch.allclose(output[:1], alone, atol=1e-5 * math.sqrt(samples))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_on_a_gpu() -> None:
    """Output and gradients in float64, where tensor operations take the place of compiled loops: 1e-9."""
    results = []
    for device in ("cpu", "cuda"):
        audio = beats(1.0).double().to(device).requires_grad_()
        knobs = {key: value.to(device) for key, value in Limiter(RATE).defaults(1, torch.float64).items()}
        output = Limiter(RATE)(audio, {**knobs, "target": knobs["target"] + 5.0})
        (gradient,) = torch.autograd.grad(output.pow(3).sum(), audio)
        results.append((output.cpu(), gradient.cpu()))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * float(one.abs().max()))
