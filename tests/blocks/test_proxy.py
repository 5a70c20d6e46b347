"""Learned proxies of plugins: they come near, and what they say of a knob is what the plugin does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hitchain.blocks import proxy as proxies
from hitchain.blocks.effects.plugin import Plugin
from hitchain.blocks.proxy import Proxy
from hitchain.cli import main
from hitchain.errors import UserError

pytest.importorskip("pedalboard")
RATE = 22050
Trained = tuple[Proxy, dict[str, float], Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    proxy, distances = proxies.train("LowpassFilter", RATE, steps=60)
    path = tmp_path_factory.mktemp("proxy") / "low.safetensors"
    proxies.save(path, proxy, "LowpassFilter")
    return proxy, distances, path


def sound() -> Tensor:
    return proxies.sounds(1, RATE, torch.Generator().manual_seed(9))


def test_it_comes_near(trained: Trained, accuracy: Callable[..., None]) -> None:
    distances = trained[1]
    share = 100.0 * distances["proxy"] / distances["dry"]
    accuracy("train-proxy", "pedalboard.LowpassFilter, of the dry sound's distance", share, bound=35.0, unit="%")


def test_the_sound_stays_the_plugins(trained: Trained) -> None:
    plain, learned = Plugin(RATE, plugin="LowpassFilter"), Plugin(RATE, plugin="LowpassFilter", proxy=str(trained[2]))
    assert torch.equal(plain(sound(), plain.defaults()), learned(sound(), learned.defaults()))


def test_its_gradient_leads_to_a_targets_setting(trained: Trained) -> None:
    """From 8 kHz to the 600 Hz at which a recording was made, by spectra; the plugin itself plays at every step."""
    block = Plugin(RATE, plugin="LowpassFilter", proxy=str(trained[2]))
    (knob,) = block.knobs
    audio = sound()
    target = block(audio, {**block.defaults(), knob.name: torch.tensor([600.0])})
    place = knob.to_unit(torch.tensor([knob.default])).requires_grad_()
    optimiser = torch.optim.Adam([place], lr=0.03)
    distances = []
    for step in range(60):
        optimiser.param_groups[0]["lr"] = 0.03 * (1.0 - step / 60)
        output = block(audio, {**block.defaults(), knob.name: knob.from_unit(place)})
        distance = proxies.spectral_distance(output, target)
        distances.append(float(distance.detach()))
        optimiser.zero_grad()
        distance.backward()
        optimiser.step()
    assert min(distances) < 0.15 * distances[0]
    assert 400.0 < float(knob.from_unit(place.detach())) < 900.0


def test_gradient_of_the_input_is_finite_and_repeats(trained: Trained) -> None:
    block = Plugin(RATE, plugin="LowpassFilter", proxy=str(trained[2]))
    gradients = []
    for _ in range(2):
        audio = sound().requires_grad_()
        (gradient,) = torch.autograd.grad(block(audio, block.defaults()).square().sum(), audio)
        gradients.append(gradient)
    assert gradients[0].isfinite().all()
    assert float(gradients[0].abs().max()) > 0
    assert torch.equal(*gradients)


def test_a_file_gives_back_the_same_proxy(trained: Trained) -> None:
    proxy, _, path = trained
    loaded = proxies.load(path, ["cutoff_frequency_hz"], RATE)
    place = torch.tensor([[0.4]])
    assert torch.equal(loaded(sound(), place), proxy(sound(), place))
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_files_that_are_no_proxies(trained: Trained, tmp_path: Path) -> None:
    path = trained[2]
    with pytest.raises(UserError, match="was trained for LowpassFilter"):
        proxies.load(path, ["drive_db"], RATE)
    with pytest.raises(UserError, match="22050 Hz"):
        proxies.load(path, ["cutoff_frequency_hz"], 44100)
    with pytest.raises(UserError, match="no such file"):
        proxies.load(tmp_path / "nowhere", ["cutoff_frequency_hz"], RATE)
    (tmp_path / "cut").write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="not a readable proxy"):
        proxies.load(tmp_path / "cut", ["cutoff_frequency_hz"], RATE)
    save_file({"a": torch.zeros(1)}, str(tmp_path / "other"))
    with pytest.raises(UserError, match="was not written by"):
        proxies.load(tmp_path / "other", ["cutoff_frequency_hz"], RATE)
    header = json.dumps({"plugin": "x", "knobs": ["cutoff_frequency_hz"], "sample_rate": RATE})
    save_file({"a": torch.zeros(1)}, str(tmp_path / "empty"), metadata={"format": proxies.FORMAT, "proxy": header})
    with pytest.raises(UserError, match="does not hold a proxy's weights"):
        proxies.load(tmp_path / "empty", ["cutoff_frequency_hz"], RATE)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gain.safetensors"
    assert main(["train-proxy", "plugin=Gain", f"out={file}", "steps=2", "sample_rate=22050"]) == 0
    assert "on examples kept apart" in capsys.readouterr().out
    assert file.is_file()
    for words, part in (
        (["plugin=Gain"], "give a plugin and a file"),
        (["plugn=Gain"], "did you mean 'plugin'"),
        (["plugin=Invert", "out=x"], "has no parameters"),
        (["plugin=Gain", "out=x", "steps=many"], "whole number"),
    ):
        assert main(["train-proxy", *words]) == 2
        assert part in capsys.readouterr().err
