"""Captures against the package that makes them, against PyTorch's own layers, and against files that mean harm."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.amps.capture_files import LARGEST_FILE, load, parse
from hitchain.blocks.dsp import recurrent
from hitchain.errors import UserError
from hitchain.files import read_audio

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "rig"
NAM_FILES = [*sorted((DATA / "nam").glob("*.nam")), *sorted((DATA / "tone3000_demo" / "models").glob("*.nam"))]
JSON_FILES = [
    path
    for path in [*sorted((DATA / "lstm_and_ir").rglob("*.json")), *sorted((DATA / "rnn").rglob("*.json"))]
    if path.stem != "junior_1_stage"
]
NO_KNOBS = torch.zeros(1, 0, 1)


def guitar(seconds: float = 0.25) -> Tensor:
    """A stretch of a real dry guitar: (1, samples) at 48 kHz."""
    path = DATA / "dry_di" / "Mayer - Guitar.flac"
    if not path.exists():
        pytest.skip("needs shared/data beside the repository")
    return read_audio(path)[0][:1, 48_000 : 48_000 + round(48_000 * seconds)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def decibels(heard: Tensor, expected: Tensor) -> float:
    error = (heard.double() - expected.double()).square().sum() / expected.double().square().sum()
    return 10.0 * math.log10(float(error) + 1e-30)


def as_newest(data: dict[str, Any]) -> dict[str, Any]:
    """A .nam file of version 0.5 in the words of 0.13, the installed package's."""
    newest = copy.deepcopy(data)
    for array in newest["config"]["layers"]:
        array["head"] = {"out_channels": array.pop("head_size"), "kernel_size": 1, "bias": array.pop("head_bias")}
        array.pop("gated")
    return newest


def test_agrees_with_the_package_on_real_guitar(accuracy: Any) -> None:
    from_nam = pytest.importorskip("nam.models._from_nam")
    audio, worst = guitar(), -300.0
    for path in NAM_FILES:
        data = json.loads(path.read_text())
        model = from_nam.init_from_nam(as_newest(data)).eval()
        with torch.no_grad():
            expected = model(audio, pad_start=True)
            worst = max(worst, decibels(parse(data, path.name).network(audio, NO_KNOBS), expected))
            again = parse(as_newest(data), path.name).network(audio, NO_KNOBS)
        assert decibels(again, expected) < -100.0
    assert len(NAM_FILES) == 21
    accuracy("amps/capture", "neural-amp-modeler, 21 .nam files on dry guitar", worst, bound=-80.0)


def exported(model: Any, kind: str) -> dict[str, Any]:
    weights = [float(value) for value in model._export_weights()]
    config = json.loads(json.dumps(model._export_config()))  # as a file holds it: lists for tuples
    return {"version": "0.5.4", "architecture": kind, "config": config, "weights": weights}


@pytest.mark.parametrize("kind", ["Linear", "ConvNet", "ConvNet normalised", "LSTM"])
def test_other_architectures_agree_with_the_package(kind: str, accuracy: Any) -> None:
    pytest.importorskip("nam")
    from nam.models.conv_net import ConvNet
    from nam.models.linear import Linear
    from nam.models.recurrent import LSTM

    torch.manual_seed(0)
    model = {
        "Linear": lambda: Linear(receptive_field=64, bias=True, sample_rate=48_000),
        "ConvNet": lambda: ConvNet(channels=6, dilations=[1, 2, 4, 8], sample_rate=48_000),
        "ConvNet normalised": lambda: ConvNet(channels=6, dilations=[1, 2, 4], batchnorm=True, sample_rate=48_000),
        "LSTM": lambda: LSTM(hidden_size=9, num_layers=2, sample_rate=48_000),
    }[kind]()
    if kind == "ConvNet normalised":
        model(noise(4, 4000), pad_start=False)  # the running statistics move
    model.eval()
    data = exported(model, kind.split()[0])
    audio = guitar(0.2)
    with torch.no_grad():
        if kind == "LSTM":  # a file starts from the state that follows silence
            hidden, cell = model._get_initial_state()
            model._initial_hidden.data, model._initial_cell.data = hidden.reshape(2, 9), cell.reshape(2, 9)
        expected = model(audio, pad_start=True)
        heard = parse(data, kind).network(audio, NO_KNOBS)
    accuracy("amps/capture", f"neural-amp-modeler, a {kind} on dry guitar", decibels(heard, expected), bound=-80.0)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_kernels_and_their_gradients(kind: Any, accuracy: Any) -> None:
    """Against PyTorch's own layers, forward and back, in float64."""
    torch.manual_seed(1)
    module = getattr(torch.nn, kind)(2, 7, batch_first=True).double()
    layer = recurrent.Layer(kind, *(weight.detach() for weight in module.parameters()))
    values = [noise(3, 40, 2).double(), noise(3, 7, seed=1).double(), noise(3, 7, seed=2).double()]
    weights = noise(3, 40, 7, seed=3).double()
    results = []
    for fused in (True, False):
        given = [value.clone().requires_grad_() for value in values]
        states, last = recurrent.run_layer(layer, *given, fused=fused)
        loss = (states * weights).sum() + (last * weights[:, 0]).sum() + last.square().sum()
        results.append([states, last, *torch.autograd.grad(loss, given)])
    for fused, own in zip(*results, strict=True):
        assert torch.allclose(fused, own, atol=1e-12)
    error = max(decibels(a.detach(), b.detach()) for a, b in zip(*results, strict=True))
    accuracy("amps/capture", f"torch.nn.{kind}, states and gradients", error, bound=-200.0)


def by_torch(data: dict[str, Any], audio: Tensor, knob: float) -> Tensor:
    """GuitarML's SimpleRNN, by PyTorch's modules."""
    about, weights = data["model_data"], {key: torch.tensor(value) for key, value in data["state_dict"].items()}
    core = getattr(torch.nn, about["unit_type"])(about["input_size"], about["hidden_size"], batch_first=True)
    core.load_state_dict({key[4:]: value for key, value in weights.items() if key.startswith("rec.")})
    inputs = torch.stack([audio, *[torch.full_like(audio, knob)] * (about["input_size"] - 1)], dim=-1)
    with torch.no_grad():
        heard = (core(inputs)[0] @ weights["lin.weight"].T + weights["lin.bias"])[..., 0]
    return heard + audio if about["skip"] else heard


def test_guitarml_files_agree_with_pytorch(accuracy: Any) -> None:
    audio, worst, with_knobs = guitar(0.05), -300.0, 0
    for path in JSON_FILES:
        data, capture = json.loads(path.read_text()), load(path)
        knobs = torch.full((1, capture.network.knobs, 1), 0.7)
        with torch.no_grad():
            heard = capture.network(audio, knobs)
        assert torch.isfinite(heard).all()
        with_knobs += capture.network.knobs
        if "state_dict" in data:
            worst = max(worst, decibels(heard, by_torch(data, audio, 0.7)))
    assert with_knobs >= 3
    accuracy("amps/capture", "PyTorch's layers, GuitarML files on dry guitar", worst, bound=-80.0)


def test_a_keras_gru_by_its_equations() -> None:
    path = DATA / "lstm_and_ir" / "guitar_ml_models" / "centaur" / "centaur_50.json"
    if not path.exists():
        pytest.skip("needs shared/data beside the repository")
    data, audio = json.loads(path.read_text()), guitar(0.01).double()
    kernel, inner, bias = (torch.tensor(value, dtype=torch.float64) for value in data["layers"][0]["weights"])
    weight, shift = (torch.tensor(value, dtype=torch.float64) for value in data["layers"][1]["weights"])
    state, size, expected = torch.zeros(8, dtype=torch.float64), 8, []
    for sample in audio[0]:
        fresh, kept = sample * kernel[0] + bias[0], state @ inner + bias[1]
        update = torch.sigmoid(fresh[:size] + kept[:size])
        reset = torch.sigmoid(fresh[size : 2 * size] + kept[size : 2 * size])
        new = torch.tanh(fresh[2 * size :] + reset * kept[2 * size :])
        state = update * state + (1 - update) * new
        expected.append(state @ weight[:, 0] + shift[0])
    heard = load(path).network.double()(audio, NO_KNOBS.double())
    assert decibels(heard[0], torch.stack(expected)) < -120.0


def test_a_knob_is_a_parameter_and_has_a_gradient() -> None:
    path = DATA / "lstm_and_ir" / "guitar_ml_models" / "TS9_DriveKnob.json"
    if not path.exists():
        pytest.skip("needs shared/data beside the repository")
    block = blocks.create("amps/capture", sample_rate=44_100, file=str(path))
    assert [parameter.name for parameter in block.parameters] == ["input", "output", "mix", "knob"]
    audio = noise(1, 1, 2000).double().requires_grad_()
    settings = block.defaults(1, torch.float64)

    def loss(knob: Tensor) -> Tensor:
        return torch.as_tensor(block.double()(audio, {**settings, "knob": knob})).square().sum()

    knob = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    gradient, to_audio = torch.autograd.grad(loss(knob), [knob, audio])
    difference = (loss(knob.detach() + 1e-5) - loss(knob.detach() - 1e-5)) / 2e-5
    assert float(gradient) == pytest.approx(float(difference.detach()), rel=1e-5)
    assert torch.isfinite(to_audio).all()
    assert float(to_audio.abs().max()) > 0.0


@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_another_session_rate_sounds_the_same(rate: int) -> None:
    """The 48 kHz result, resampled, against the block at another rate: below 18 kHz, -50 dB."""
    from scipy.signal import resample_poly

    time = torch.arange(24_000, dtype=torch.float64) / 48_000
    tone = 0.1 * torch.sin(2 * math.pi * 220.0 * time) * torch.sin(math.pi * time / 0.5) ** 2
    divisor = math.gcd(rate, 48_000)
    up, down = rate // divisor, 48_000 // divisor
    own, other = (blocks.create("amps/capture", sample_rate=r).double() for r in (48_000, rate))
    expected = own(tone[None, None], own.defaults(1, torch.float64))[0, 0]
    there = torch.from_numpy(resample_poly(tone.numpy(), up, down))
    heard = other(there[None, None], other.defaults(1, torch.float64))[0, 0]
    assert decibels(heard, torch.from_numpy(resample_poly(expected.numpy(), up, down))) < -50.0


def test_long_audio_in_stretches_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    network, audio = load("plain").network, noise(2, 9000).requires_grad_()
    results = []
    for stretch in (1 << 15, 2000):
        monkeypatch.setattr("hitchain.blocks.dsp.captures.STRETCH", stretch)
        heard = network(audio, NO_KNOBS)
        results.append((heard, torch.autograd.grad(heard.square().sum(), audio)[0]))
    for whole, pieces in zip(*results, strict=True):
        assert decibels(pieces.detach(), whole.detach()) < -100.0


def plain() -> dict[str, Any]:
    return {
        "version": "0.5.4",
        "architecture": "Linear",
        "config": {"receptive_field": 3, "bias": False},
        "weights": [0.0, 0.0, 1.0],
    }


def spoilt(**changes: Any) -> dict[str, Any]:
    return {**plain(), **changes}


HUGE = {"receptive_field": 10**9, "bias": False}
STACK = {
    "input_size": 1, "condition_size": 1, "head_size": 1, "channels": 2, "kernel_size": 3, "dilations": [1],
    "activation": "Tanh", "gated": False, "head_bias": True,
}  # fmt: skip


def wavenet(**changes: Any) -> dict[str, Any]:
    config = {"layers": [{**STACK, **changes}], "head": None, "head_scale": 0.02}
    return {"architecture": "WaveNet", "config": config, "weights": [0.1] * 27}


HOSTILE = {
    "a list": [],
    "no weights": {"architecture": "Linear", "config": {}},
    "unknown architecture": spoilt(architecture="__import__('os')"),
    "architecture no string": spoilt(architecture={"a": 1}),
    "NaN": spoilt(weights=[0.0, math.nan, 1.0]),
    "infinity": spoilt(weights=[0.0, 1e39, 1.0]),
    "too large a number": spoilt(weights=[0, 10**400, 1]),
    "text among the weights": spoilt(weights=[0.0, "1", 1.0]),
    "too few": spoilt(weights=[0.0, 1.0]),
    "too many": spoilt(weights=[0.0] * 4),
    "nested": spoilt(weights=[[0.0], [0.0], [1.0]]),
    "huge": spoilt(config=HUGE),
    "negative": spoilt(config={"receptive_field": -1, "bias": False}),
    "config no mapping": spoilt(config=[1, 2]),
    "rate": spoilt(sample_rate=1e9),
    "rate no number": spoilt(sample_rate="48k"),
    "wide": wavenet(channels=100_000),
    "dilations": wavenet(dilations=[1 << 40]),
    "no dilations": wavenet(dilations=[]),
    "far": wavenet(dilations=[60_000] * 20),
    "activation": wavenet(activation="os.system"),
    "film": wavenet(conv_pre_film={"active": True}),
    "wavenet short of weights": wavenet(),
    "unit": {"model_data": {"unit_type": "eval"}, "state_dict": {}},
    "no state": {"model_data": {"unit_type": "LSTM", "hidden_size": 4, "input_size": 1}, "state_dict": {}},
    "wrong shape": {
        "model_data": {"unit_type": "GRU", "hidden_size": 1, "input_size": 1},
        "state_dict": {"rec.weight_ih_l0": [[0.0]] * 4},
    },
    "keras": {"in_shape": [None, None, 1], "layers": [{"type": "lambda", "shape": [None, 1], "weights": []}]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        parse(HOSTILE[name], "x.nam")


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    missing, broken, deep, large = (tmp_path / f"{name}.nam" for name in ("missing", "broken", "deep", "large"))
    broken.write_text('{"architecture": ')
    deep.write_text("[" * 200_000)
    with large.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    for path, words in ((missing, "not found"), (broken, "JSON"), (deep, "JSON"), (large, "larger"), (tmp_path, "not")):
        with pytest.raises(UserError, match=words):
            blocks.create("amps/capture", file=str(path))
    good = tmp_path / "good.nam"
    good.write_text(json.dumps(plain()))
    block = blocks.create("amps/capture", sample_rate=48_000, file=str(good))
    audio = noise(1, 2, 300)
    assert torch.allclose(block(audio, block.defaults()), audio, atol=1e-6)
    with pytest.raises(UserError, match="rate"):
        blocks.create("amps/capture", file=str(good), rate=10)
