"""Networks: names and numbers that may not move, any length, pooling against its formula, and heads."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hitchain.errors import UserError
from hitchain.rater import networks
from hitchain.rater.networks import ARCHITECTURES
from hitchain.rater.networks.pooling import AttentiveStatistics, GeneralisedMean
from hitchain.rater.networks.self_similarity import APART, EARS, Returns, autocorrelation, lag_filters
from hitchain.rater.networks.transformer import SLOPES, fading

HEADS = {"genre": ["folk", "jazz", "rock"], "amp.kind": ["tube", "none"]}

# Names and shapes of the state (a hash) and two ratings, as the first version of these networks had and gave them.
FIRST_VERSION = {
    "mel_cnn": ("ab57e3b048cead87", (5.535630226135254, 5.4176411628723145)),
    "mel_tcn": ("8a231a27a67ab4f0", (0.19521701335906982, 0.18261659145355225)),
    "mel_gru": ("7178e1e3cd696288", (3.8878395557403564, 3.8745710849761963)),
}


def spread(count: int, step: float, start: float = 0.0) -> Tensor:
    """Numbers from 0 to 1 that look random and are the same everywhere."""
    return torch.frac(torch.arange(count, dtype=torch.float64).square() * step + start)


def make(architecture: str, **options: object) -> networks.RatingNetwork:
    torch.manual_seed(0)
    return networks.create(architecture, 80, **options).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", FIRST_VERSION)
def test_weights_of_the_first_version_still_mean_the_same(architecture: str) -> None:
    network = make(architecture)
    state = network.state_dict()
    shapes = "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    wanted, ratings = FIRST_VERSION[architecture]
    assert hashlib.sha256(shapes.encode()).hexdigest()[:16] == wanted
    for number, name in enumerate(sorted(state)):
        tensor = state[name]
        if tensor.is_floating_point():
            wave = torch.frac(spread(tensor.numel() + 1, 0.6180339887)[1:] + 0.317 * number) - 0.5
            scale = 4.0 / math.sqrt(tensor.numel() / tensor.shape[0])
            tensor.copy_((1.0 + wave if name.endswith("running_var") else scale * wave).reshape(tensor.shape))
    frames = spread(2 * 2 * 80 * 123, 0.4142135624).float().reshape(2, 2, 80, 123)
    with torch.no_grad():
        torch.testing.assert_close(network(frames), torch.tensor(ratings), atol=2e-4, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pooling", ["attention", "gem"])
def test_any_length_and_every_parameter_is_alive(architecture: str, pooling: str) -> None:
    network = make(architecture, pooling=pooling, heads=HEADS, dropout=0.0)
    assert sum(parameter.numel() for parameter in network.parameters()) < 500_000
    for length in (50, 51, 77, 300):
        assert network(torch.rand(2, 2, 80, length)).shape == (2,)
    frames = torch.rand(3, 2, 80, 101)
    outputs = network.train().tasks(frames)
    torch.autograd.backward(sum((output * torch.randn_like(output)).sum() for output in outputs.values()))
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # What comes before a normalisation or a softmax over time may have a bias without effect.
        if not name.endswith("bias"):
            assert parameter.grad.abs().max() > 0.0, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_two_minutes_fit(architecture: str) -> None:
    with torch.no_grad():
        assert torch.isfinite(make(architecture)(torch.rand(1, 2, 80, 6000))).all()


@pytest.mark.parametrize("bands", [16, 17, 33, 128, 256])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_number_of_bands_and_the_smallest_width(architecture: str, bands: int) -> None:
    network = networks.create(architecture, bands, width=8).eval()
    assert network(torch.rand(1, 2, bands, 10)).shape == (1,)


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "self_similarity"])
def test_a_passage_played_twice_rates_as_once(architecture: str) -> None:
    """Statistics over time do not count repetitions; what is left are the edges, fewer the longer the passage.

    `self_similarity` is there to hear that it is played twice.
    """
    network = make(architecture)
    passage = torch.rand(1, 2, 80, 640, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        once, twice = network(passage), network(passage.repeat(1, 1, 1, 2))
        other = network(passage * torch.linspace(0, 1, 80)[:, None])
    assert float((once - twice).abs()) < 0.3 * float((once - other).abs())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_items_of_a_batch_do_not_touch(architecture: str) -> None:
    network, frames = make(architecture), torch.rand(3, 2, 80, 99)
    with torch.no_grad():
        torch.testing.assert_close(network(frames)[:1], network(frames[:1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_heads_are_one_trunk_with_a_layer_each(architecture: str) -> None:
    network, frames = make(architecture, heads=HEADS), torch.rand(2, 2, 80, 60)
    outputs = network.tasks(frames)
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "popularity": (2,), "genre": (2, 3), "amp.kind": (2, 2),
    }  # fmt: skip
    torch.testing.assert_close(outputs["popularity"], network(frames))
    assert network.heads == {"genre": ("folk", "jazz", "rock"), "amp.kind": ("tube", "none")}
    plain = make(architecture).state_dict()
    extra = network.state_dict().keys() - plain.keys()
    assert extra == {f"head.labels.{number}.{part}" for number in (0, 1) for part in ("weight", "bias")}
    assert set(make(architecture).tasks(frames)) == {"popularity"}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.floats(1.01, 60.0), st.floats(-8.0, 8.0), st.integers(0, 100))
def test_generalised_mean_is_its_formula(frames: int, exponent: float, shift: float, seed: int) -> None:
    signal = torch.randn(2, 3, frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + shift
    pool = GeneralisedMean(3, exponent).double()
    assert pool.exponent().detach().numpy() == pytest.approx(exponent, rel=1e-5)
    level = np.logaddexp(0.0, signal.numpy())
    wanted = np.mean(level ** pool.exponent().detach().numpy()[:, None], axis=-1) ** (
        1 / pool.exponent().detach().numpy()
    )
    np.testing.assert_allclose(pool(signal).detach().numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, -100.0, 100.0, -15.0, -1e4])
def test_generalised_mean_has_safe_gradients(value: float) -> None:
    pool = GeneralisedMean(2, 40.0)
    signal = torch.full((1, 2, 9), value, requires_grad=True)
    torch.autograd.backward(pool(signal).sum())
    assert torch.isfinite(signal.grad).all()
    assert torch.isfinite(pool.excess.grad).all()
    precise = torch.randn(1, 2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pool.double(), (precise * 8,))


def test_attentive_statistics_of_even_attention_are_mean_and_deviation() -> None:
    pool = AttentiveStatistics(4)
    nn.init.zeros_(pool.score[2].weight)
    nn.init.zeros_(pool.score[2].bias)
    signal = torch.randn(2, 4, 50)
    wanted = torch.cat([signal.mean(-1), (signal.var(-1, correction=0) + 1e-4).sqrt()], dim=-1)
    torch.testing.assert_close(pool(signal), wanted)


def test_attention_of_the_transformer_depends_on_distance_alone() -> None:
    bias = fading(5, 3)
    assert bias.shape == (4, 15, 15)
    for head, slope in enumerate(SLOPES):
        assert float(bias[head, 0, 14]) == pytest.approx(-4 * slope)
        assert float(bias[head, 0, 1]) == 0.0
    torch.testing.assert_close(fading(9, 3)[:, :15, :15], bias)


@pytest.mark.parametrize("frames", [10, 51, 400])
def test_autocorrelation_is_its_sum(frames: int) -> None:
    signal = torch.randn(2, frames, generator=torch.Generator().manual_seed(2))
    found = autocorrelation(signal).numpy()
    centred = (signal - signal.mean(-1, keepdim=True)).double().numpy()
    for row, one in zip(centred, found, strict=True):
        sums = np.correlate(row, row, "full")[frames - 1 :]
        wanted = sums / np.maximum(frames - np.arange(frames), (frames + 1) // 2) / (sums[0] / frames)
        np.testing.assert_allclose(one[:frames], wanted[: len(one)], atol=1e-4)
        assert not one[frames:].any()


@pytest.mark.parametrize("period", [20, 33, 60])
def test_the_beat_spectrum_peaks_at_the_beat(period: int) -> None:
    pulses = (torch.arange(500) % period == 0).float()
    spectrum = autocorrelation(pulses) @ lag_filters()
    place = 10 * 2.0 ** (torch.arange(len(spectrum)) / 16)
    below = place < 1.5 * period
    assert float(place[spectrum.where(below, -9.0).argmax()]) == pytest.approx(period, rel=0.05)
    assert lag_filters().sum(0) == pytest.approx(1.0, rel=1e-5)


def test_returns_tell_what_comes_back_from_what_does_not() -> None:
    torch.manual_seed(0)
    returns = Returns(24)
    sections = torch.randn(4, 24, 20)
    back, new = (torch.cat([sections[part] for part in form], -1)[None] for form in ((0, 1, 0, 1), (0, 1, 2, 3)))
    with torch.no_grad():
        heard, unheard = returns(back), returns(new)
    assert heard.shape == (1, EARS * len(APART), 80)
    inside = heard[..., 4:16].reshape(len(APART), EARS, 12)
    assert (inside > 0.95).all()  # moments 4 to 15 come back 40 moments later, farther than any of APART
    assert (unheard[..., 4:16] < 0.8).all()
    assert not returns(back[..., :30]).reshape(len(APART), EARS, 30)[2].any()  # nothing is 32 moments away
    with torch.no_grad():
        mixed = torch.cat([back, new])
        torch.testing.assert_close(returns(mixed)[0], heard[0])


@pytest.mark.parametrize(
    ("architecture", "options", "words"),
    [
        ("jynett", {}, "did you mean 'jynet'"),
        ("mel_cnn", {"width": 7}, "width is 7"),
        ("mel_cnn", {"dropout": "much"}, "dropout is 'much'"),
        ("mel_cnn", {"pooling": "gen"}, "did you mean 'gem'"),
        ("mel_cnn", {"depth": 3}, "unknown option 'depth'"),
        ("transformer", {"width": 50}, "multiple of 4"),
        ("mel_cnn", {"heads": ["genre"]}, "label columns"),
        ("mel_cnn", {"heads": {"popularity": ["a", "b"]}}, "popularity is always there"),
        ("mel_cnn", {"heads": {"genre": "folk"}}, "must be words"),
        ("mel_cnn", {"heads": {"genre": ["a", "a"]}}, "each once"),
        ("mel_cnn", {"heads": {"genre": []}}, "0 classes"),
    ],
)
def test_unknown_names_and_values_are_refused(architecture: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        networks.create(architecture, 80, **options)  # type: ignore[arg-type]
