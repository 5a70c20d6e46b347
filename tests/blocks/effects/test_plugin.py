"""Hosted plugins: the sound is theirs, estimated gradients are right in the mean, and no file is run unasked."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hitchain.blocks.dsp import filters, hosting, section_filter
from hitchain.blocks.effects.plugin import Plugin
from hitchain.blocks.parameter import SEED
from hitchain.errors import UserError

pedalboard = pytest.importorskip("pedalboard")
RATE = 44100


def noise(samples: int = 8000, batch: int = 1, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(batch, 2, samples, generator=torch.Generator().manual_seed(seed))


def settings(block: Plugin, **knobs: float) -> dict[str, Tensor]:
    chosen = block.defaults()
    return chosen | {key: torch.tensor([value]) for key, value in knobs.items()} | {SEED: torch.tensor(0)}


@pytest.mark.parametrize("name", sorted(hosting.BUILT_IN))
def test_every_built_in_sounds_as_pedalboard_does(name: str) -> None:
    block = Plugin(RATE, plugin=name)
    audio = noise()
    output = block(audio, settings(block))
    values = {knob.name: knob.default for knob in block.knobs}
    expected = getattr(pedalboard, name)(**values)(audio[0].numpy(), RATE)
    assert output.shape == audio.shape
    np.testing.assert_allclose(output[0].numpy(), expected[:, : audio.shape[-1]], atol=1e-6)


@pytest.mark.parametrize("name", sorted(hosting.BUILT_IN))
@pytest.mark.parametrize(("end", "rate"), [("low", RATE), ("high", RATE), ("high", 16000)])
def test_the_ends_of_every_range_are_finite_with_gradients(name: str, end: str, rate: int) -> None:
    block = Plugin(rate, plugin=name)
    chosen = settings(block, **{knob.name: getattr(knob, end) for knob in block.knobs})
    knobs = [chosen[knob.name].requires_grad_() for knob in block.knobs]
    audio = noise(3000).requires_grad_()
    output = block(audio, chosen)
    gradients = torch.autograd.grad(output.square().sum(), [audio, *knobs], allow_unused=True)
    assert output.isfinite().all()
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


def test_wet_blends() -> None:
    block = Plugin(RATE, plugin="Invert")
    audio = noise(100)
    assert torch.allclose(block(audio, settings(block, wet=0.25)), 0.5 * audio)


def _own_peak(audio: Tensor, knobs: Mapping[str, Tensor]) -> Tensor:
    """The same filter, differentiable."""
    values = [knobs[name].double()[:, None] for name in ("cutoff_frequency_hz", "gain_db", "q")]
    return section_filter.filter_sections(audio, *filters.peak(*values, sample_rate=RATE))


def _gradients(process: Callable[..., Tensor], audio: Tensor, chosen: Mapping[str, Tensor]) -> list[Tensor]:
    names = ("cutoff_frequency_hz", "gain_db", "q")
    knobs = {name: chosen[name].clone().requires_grad_() for name in names}
    given = audio.clone().requires_grad_()
    weights = torch.sin(torch.arange(audio.shape[-1]) * 0.05)
    loss = (process(given, {**chosen, **knobs}).square() * weights).sum()
    return list(torch.autograd.grad(loss, [given, *knobs.values()]))


def test_gradients_of_an_equaliser_are_those_of_our_own(accuracy: Callable[..., None]) -> None:
    """The input's is exact; the knobs' are right in the mean of many probes: 3 knobs, noise of sqrt(2 / 2000)."""
    audio = noise(6000)
    block = Plugin(RATE, plugin="PeakFilter", probes=600, step=0.005)
    chosen = settings(block, cutoff_frequency_hz=900.0, gain_db=7.0, q=1.2)
    estimated, expected = _gradients(block, audio, chosen), _gradients(_own_peak, audio, chosen)
    error = 20 * math.log10(float((estimated[0] - expected[0]).norm() / expected[0].norm()))
    accuracy("effects/plugin", "own peak filter, gradient of the input", error, bound=-80.0)
    positions = [
        (float(one) * knob.high, float(other) * knob.high)  # of like size
        for one, other, knob in zip(estimated[1:], expected[1:], block.knobs, strict=True)
    ]
    one, other = (np.array(side) for side in zip(*positions, strict=True))
    cosine = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    accuracy("effects/plugin", "own peak filter, direction of the estimate", 1.0 - cosine, bound=0.02, unit="")


def test_few_probes_climb_to_a_targets_settings() -> None:
    """What the estimate is for: three knobs found from noisy gradients."""
    audio = noise(12000)
    block = Plugin(RATE, plugin="PeakFilter")
    target = block(audio, settings(block, cutoff_frequency_hz=1500.0, gain_db=9.0, q=1.0)).detach()
    place = torch.tensor([knob.to_unit(torch.tensor(knob.default)) for knob in block.knobs], requires_grad=True)
    optimiser = torch.optim.Adam([place], lr=0.02)
    losses = []
    for _ in range(150):
        inside = place.clamp(0.0, 1.0)
        knobs = {knob.name: knob.from_unit(inside[i : i + 1]) for i, knob in enumerate(block.knobs)}
        loss = (block(audio, {**settings(block), **knobs}) - target).square().mean()
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.02 * losses[0]


def test_gradients_are_the_same_every_time_and_new_elsewhere() -> None:
    block = Plugin(RATE, plugin="Compressor")
    audio = noise()

    def gradient(threshold: float, seed: int) -> Tensor:
        chosen = settings(block, threshold_db=threshold) | {SEED: torch.tensor(seed)}
        knob = chosen["ratio"].requires_grad_()
        return torch.autograd.grad(block(audio, chosen).square().sum(), knob)[0]

    assert torch.equal(gradient(-20.0, 0), gradient(-20.0, 0))
    assert not torch.equal(gradient(-20.0, 0), gradient(-20.0, 1))


class _FakeParameter:
    def __init__(self, plugin: _FakeNative, low: float, high: float) -> None:
        self.plugin, self.min_value, self.max_value, self.label = plugin, low, high, "dB"
        self.raw_value = 0.5


class _FakeNative:
    """Acts as pedalboard's VST3Plugin does; a gain from -12 to 12 dB."""

    is_effect = True

    def __init__(self) -> None:
        self.parameters = {"gain": _FakeParameter(self, -12.0, 12.0)}

    def process(self, audio: np.ndarray, sample_rate: float, reset: bool) -> np.ndarray:
        return audio * np.float32(10 ** ((self.parameters["gain"].raw_value * 24.0 - 12.0) / 20))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin file, with a pedalboard that can load it."""
    file = tmp_path / "Fake.vst3"
    file.write_bytes(b"")
    fake = SimpleNamespace(load_plugin=lambda path: _FakeNative())
    monkeypatch.setattr(hosting, "pedalboard", lambda: fake)
    return file


def test_a_file_is_loaded_only_from_where_plugins_are(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(hosting.FOLDERS_VARIABLE, raising=False)
    with pytest.raises(UserError, match="native code"):
        Plugin(RATE, plugin=str(installed))
    monkeypatch.setenv(hosting.FOLDERS_VARIABLE, str(installed.parent / "other"))
    with pytest.raises(UserError, match="native code"):
        Plugin(RATE, plugin=str(installed))
    with pytest.raises(UserError, match="no such file"):
        Plugin(RATE, plugin="nowhere.vst3")


def test_a_files_parameters_become_parameters(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hosting.FOLDERS_VARIABLE, str(installed.parent))
    block = Plugin(RATE, plugin=str(installed))
    assert [knob.name for knob in block.parameters] == ["wet", "gain"]
    assert "-12.0 to 12.0 dB" in block.knobs[0].description
    audio = noise(1000)
    chosen = settings(block, gain=1.0)
    assert torch.allclose(block(audio, chosen), audio * 10 ** (12 / 20))
    knob = chosen["gain"].requires_grad_()
    (gradient,) = torch.autograd.grad(block(audio, chosen).square().sum(), knob)
    expected = float((audio * 10 ** (12 / 20)).square().sum()) * 2 * math.log(10) * 24 / 20
    assert float(gradient) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("options", "part"),
    [({}, "plugin=NAME"), ({"plugin": "Chrous"}, "did you mean 'Chorus'"), ({"plugin": "Gain", "probes": 0}, "probes")],
)
def test_mistakes(options: dict[str, Any], part: str) -> None:
    with pytest.raises(UserError, match=part):
        Plugin(RATE, **options)


def test_without_pedalboard_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Sequence[Any]) -> Any:
        if name == "pedalboard":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"hitchain\[plugins\]"):
        Plugin(RATE, plugin="Gain")
