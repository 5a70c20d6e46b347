"""Captures from files: .nam of the Neural Amp Modeler, and the JSON of GuitarML, Proteus, RTNeural and AIDA-X.

They are data, read as JSON and checked number by number against the shapes that their own description implies; nothing
in them is ever executed. What is not understood is refused rather than guessed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.dsp import captures
from hitchain.blocks.dsp.recurrent import Layer
from hitchain.errors import UserError, nearest
from hitchain.files import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE, read_json

LARGEST_FILE = 64_000_000
MOST_WEIGHTS = 4_000_000
WIDEST, MOST_LAYERS, LONGEST_REACH = 512, 128, 1 << 18

NAM_RATE, GUITARML_RATE = 48_000, 44_100
"""What the two families are trained at where a file does not say [Hz]."""


class Capture(NamedTuple):
    """A network and the sample rate at which it was trained [Hz]."""

    network: captures.Network
    sample_rate: int


def shipped() -> dict[str, Path]:
    """The captures that come with the package, by name."""
    folder = Path(str(resources.files("hitchain") / "data" / "captures"))
    return {path.stem: path for path in sorted(folder.glob("*.nam"))}


def load(file: str | os.PathLike[str]) -> Capture:
    """A capture by its file, or by the name of a shipped one.

    Raises:
        UserError: it is missing, too large, no JSON, of an unknown kind, or its numbers do not fit its description.
    """
    known = shipped()
    path = known.get(str(file), Path(file).expanduser())
    if not path.is_file():
        raise UserError(f"capture not found: {file}. Give the path of a .nam or JSON file; {nearest(str(file), known)}")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"{path} is larger than {LARGEST_FILE // 1_000_000} MB: no capture of an amplifier is.")
    return parse(read_json(path, "capture"), str(path))


def parse(data: Any, where: str) -> Capture:
    """A capture from the content of its file. Raises `UserError` as `load` does."""
    reader = _Reader(where)
    try:
        if isinstance(data, dict) and "architecture" in data:
            network, default = _nam(reader, data), NAM_RATE
        elif isinstance(data, dict) and "state_dict" in data:
            network, default = _guitarml(reader, data), GUITARML_RATE
        elif isinstance(data, dict) and "layers" in data:
            network, default = _keras(reader, data), GUITARML_RATE
        else:
            raise reader.error("it is neither a .nam file nor a GuitarML or RTNeural model")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RuntimeError) as error:
        raise reader.error(f"it is malformed ({type(error).__name__}: {error})") from error
    return Capture(network, reader.rate(data, default))


class _Reader:
    """Checked values out of a file, and a row of weights to take from."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.weights = torch.empty(0)
        self.taken = 0

    def error(self, what: str) -> UserError:
        return UserError(f"capture {self.where} cannot be used: {what}.")

    def number(self, value: Any, name: str, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(f"{name} is {str(value)[:40]!r}, not a whole number from {low} to {high}")
        return value

    def numbers(self, values: Any, name: str, low: int, high: int) -> list[int]:
        if not isinstance(values, list) or not 1 <= len(values) <= MOST_LAYERS:
            raise self.error(f"{name} should be a list of 1 to {MOST_LAYERS} numbers")
        return [self.number(value, name, low, high) for value in values]

    def real(self, value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(f"{name} is {str(value)[:40]!r}, not a number")
        return float(value)

    def flag(self, value: Any, name: str) -> bool:
        if value not in (True, False, 0, 1):
            raise self.error(f"{name} is {str(value)[:40]!r}, neither true nor false")
        return bool(value)

    def tensor(self, values: Any, name: str, shape: Sequence[int]) -> Tensor:
        """Nested lists of finite numbers of exactly this shape."""
        self._check_nesting(values, name, list(shape))
        result = torch.tensor(values, dtype=torch.float32)
        if not bool(torch.isfinite(result).all()):
            raise self.error(f"{name} holds NaN, infinity or numbers beyond single precision")
        return result

    def _check_nesting(self, values: Any, name: str, shape: list[int]) -> None:
        if not isinstance(values, list) or len(values) != shape[0]:
            found = len(values) if isinstance(values, list) else type(values).__name__
            raise self.error(f"{name} should hold {shape[0]} values, not {found}")
        if len(shape) > 1:
            for value in values:
                self._check_nesting(value, name, shape[1:])
        elif any(type(value) not in (int, float) for value in values):
            raise self.error(f"{name} holds something that is no number")

    def open(self, values: Any) -> None:
        """Begin to take from a flat row of weights."""
        if not isinstance(values, list) or not 1 <= len(values) <= MOST_WEIGHTS:
            raise self.error(f"its weights should be a list of 1 to {MOST_WEIGHTS} numbers")
        self.weights, self.taken = self.tensor(values, "weights", [len(values)]), 0

    def take(self, *shape: int) -> Tensor:
        count = math.prod(shape)
        if self.taken + count > len(self.weights):
            raise self.error(f"it has {len(self.weights)} weights, fewer than its description asks for")
        self.taken += count
        return self.weights[self.taken - count : self.taken].reshape(shape).clone()

    def close(self) -> None:
        if self.taken != len(self.weights):
            raise self.error(f"it has {len(self.weights)} weights, but its description asks for {self.taken}")

    def activation(self, value: Any) -> str:
        """An activation by its name, or by a description that holds no more than its type."""
        if isinstance(value, dict) and set(value) == {"type"}:
            value = value["type"]
        by_name = {name.lower(): name for name in captures.ACTIVATIONS} | {"linear": ""}
        if not isinstance(value, str) or value.lower() not in by_name:
            raise self.error(f"activation {str(value)[:60]!r} is unknown; known are {', '.join(by_name)}")
        return by_name[value.lower()]

    def rate(self, data: Mapping[str, Any], default: int) -> int:
        """The sample rate, wherever the file tells it."""
        places = [data, data.get("model_data"), data.get("metadata"), data.get("config")]
        for place in places:
            for key in ("sample_rate", "samplerate", "sampleRate"):
                value = place.get(key) if isinstance(place, dict) else None
                if value is not None:
                    hertz = round(self.real(value, key))
                    return self.number(hertz, key, LOWEST_SAMPLE_RATE, HIGHEST_SAMPLE_RATE)
        return default


def _nam(reader: _Reader, data: Mapping[str, Any]) -> captures.Network:
    kinds = {"WaveNet": _wavenet, "ConvNet": _convnet, "LSTM": _lstm, "Linear": _linear}
    kind = data["architecture"]
    if not isinstance(kind, str) or kind not in kinds:
        raise reader.error(f"architecture {str(kind)[:40]!r} is unknown; known are {', '.join(kinds)}")
    reader.open(data["weights"])
    network = kinds[kind](reader, data["config"])
    reader.close()
    return network


def _linear(reader: _Reader, config: Mapping[str, Any]) -> captures.Network:
    taps = reader.number(config["receptive_field"], "receptive_field", 1, LONGEST_REACH)
    weight = reader.take(taps)
    return captures.Linear(weight, reader.take(1) if reader.flag(config.get("bias", False), "bias") else torch.zeros(1))


def _convnet(reader: _Reader, config: Mapping[str, Any]) -> captures.Network:
    channels = reader.number(config["channels"], "channels", 1, WIDEST)
    dilations = reader.numbers(config["dilations"], "dilations", 1, 1 << 16)
    normalised = reader.flag(config.get("batchnorm", False), "batchnorm")
    if sum(dilations) > LONGEST_REACH:
        raise reader.error(f"it listens further back than {LONGEST_REACH} samples")
    layers = []
    for index in range(len(dilations)):
        weight = reader.take(channels, 1 if index == 0 else channels, 2)
        layers.append(_normalised(reader, weight) if normalised else (weight, reader.take(channels)))
    head = (reader.take(1, channels, 1), reader.take(1))
    return captures.ConvNet(layers, head, dilations, reader.activation(config.get("activation", "Tanh")))


def _normalised(reader: _Reader, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution with the batch normalisation behind it folded in."""
    mean, variance, scale, shift = (reader.take(len(weight)) for _ in range(4))
    spread = variance + reader.take(1)
    if not bool((spread > 0).all()):
        raise reader.error("a batch normalisation has no positive variance")
    factor = scale / spread.sqrt()
    return weight * factor[:, None, None], shift - mean * factor


def _lstm(reader: _Reader, config: Mapping[str, Any]) -> captures.Network:
    inputs = reader.number(config.get("input_size", 1), "input_size", 1, 16)
    hidden = reader.number(config["hidden_size"], "hidden_size", 1, WIDEST)
    layers, states = [], []
    for index in range(reader.number(config.get("num_layers", 1), "num_layers", 1, 16)):
        width = inputs if index == 0 else hidden
        both = reader.take(4 * hidden, width + hidden)
        bias = reader.take(4 * hidden)
        weights = both[:, :width].contiguous(), both[:, width:].contiguous()
        layers.append(Layer("LSTM", *weights, bias, torch.zeros_like(bias)))
        states.append((reader.take(hidden), reader.take(hidden)))
    head = reader.take(1, hidden)
    return captures.Recurrent(layers, [(head, reader.take(1), "")], states=states)


def _wavenet(reader: _Reader, config: Mapping[str, Any]) -> captures.Network:
    arrays = config["layers"]
    if config.get("head") is not None or config.get("condition_dsp") is not None:
        raise reader.error("a WaveNet with a head or a condition network of its own is not supported")
    if not isinstance(arrays, list) or not 1 <= len(arrays) <= 16:
        raise reader.error("a WaveNet should have 1 to 16 stacks of layers")
    read: list[captures.Array] = []
    for index, array in enumerate(arrays):
        last = index == len(arrays) - 1
        width = 1 if index == 0 else read[-1].rechannel.shape[0]
        following = 1 if last else reader.number(arrays[index + 1]["channels"], "channels", 1, WIDEST)
        read.append(_stack(reader, array, width, following))
    scale, kept = reader.real(config["head_scale"], "head_scale"), float(reader.take(1))
    # Kept twice: the weights hold it in single precision, and count where the two differ, as in the package itself.
    network = captures.WaveNet(read, scale if abs(kept - scale) <= 1e-5 else kept)
    if network.reach > LONGEST_REACH:
        raise reader.error(f"it listens further back than {LONGEST_REACH} samples")
    return network


def _stack(reader: _Reader, array: Mapping[str, Any], width: int, following: int) -> captures.Array:
    """One stack of layers, as versions from 0.5 on describe it."""
    _refuse_extras(reader, array)
    channels = reader.number(array["channels"], "channels", 1, WIDEST)
    dilations = reader.numbers(array["dilations"], "dilations", 1, 1 << 16)
    for key, expected in (("input_size", width), ("condition_size", 1)):
        reader.number(array[key], key, expected, expected)
    kernel = reader.number(_same(reader, array.get("kernel_size", array.get("kernel_sizes"))), "kernel_size", 1, 64)
    head = array.get("head")
    if not isinstance(head, dict):
        head = {"out_channels": array["head_size"], "kernel_size": 1, "bias": array["head_bias"]}
    reader.number(head["out_channels"], "head_size", following, following)
    gated = _gating(reader, array)
    rechannel = reader.take(channels, width, 1)
    wide = 2 * channels if gated else channels
    layers = [
        (
            reader.take(wide, channels, kernel),
            reader.take(wide),
            reader.take(wide, 1, 1),
            reader.take(channels, channels, 1),
            reader.take(channels),
        )
        for _ in dilations
    ]
    out = reader.take(following, channels, reader.number(head["kernel_size"], "kernel_size", 1, 64))
    bias = reader.take(following) if reader.flag(head["bias"], "head_bias") else None
    activation = reader.activation(_same(reader, array.get("activation", "Tanh")))
    return captures.Array(rechannel, layers, out, bias, dilations, activation, gated)


def _gating(reader: _Reader, array: Mapping[str, Any]) -> bool:
    mode = _same(reader, array.get("gating_mode", "gated" if array.get("gated", False) else "none"))
    if mode not in ("none", "gated"):
        raise reader.error(f"gating mode {str(mode)[:40]!r} is not supported; none and gated are")
    second = _same(reader, array.get("secondary_activation"))
    if mode == "gated" and second is not None and reader.activation(second) != "Sigmoid":
        raise reader.error("a gate other than Sigmoid is not supported")
    return bool(mode == "gated")


def _same(reader: _Reader, values: Any) -> Any:
    """A value that newer versions give once for each layer: here they must all be the same."""
    if not isinstance(values, list):
        return values
    if any(value != values[0] for value in values):
        raise reader.error("layers that differ within a stack are not supported")
    return values[0]


def _refuse_extras(reader: _Reader, array: Mapping[str, Any]) -> None:
    """What version 0.13 may describe beyond the plain WaveNet, where it is in use."""
    active = [
        key
        for key, value in array.items()
        if (key.endswith("_film") or key in ("head1x1", "slimmable", "packing"))
        and (value.get("active", True) if isinstance(value, dict) else value is not None)
    ]
    inner = array.get("layer1x1", {})
    if isinstance(inner, dict) and (not inner.get("active", True) or inner.get("groups", 1) != 1):
        active.append("layer1x1")
    active += [key for key in ("groups_input", "groups_input_mixin") if array.get(key, 1) != 1]
    if array.get("bottleneck", array["channels"]) != array["channels"]:
        active.append("bottleneck")
    if active:
        raise reader.error(f"it uses {', '.join(active)}, which is not supported")


def _guitarml(reader: _Reader, data: Mapping[str, Any]) -> captures.Network:
    """GuitarML and Proteus: one recurrent layer of PyTorch's and a dense one."""
    about, weights = data["model_data"], data["state_dict"]
    kind = about["unit_type"]
    if kind not in ("LSTM", "GRU"):
        raise reader.error(f"unit_type {str(kind)[:40]!r} is unknown; it can be LSTM or GRU")
    size = reader.number(about["hidden_size"], "hidden_size", 1, WIDEST)
    inputs = reader.number(about["input_size"], "input_size", 1, 16)
    reader.number(about.get("output_size", 1), "output_size", 1, 1)
    gates, layers = {"LSTM": 4, "GRU": 3}[kind] * size, []
    for index in range(reader.number(about.get("num_layers", 1), "num_layers", 1, 16)):
        shapes = {
            "weight_ih": (gates, inputs if index == 0 else size),
            "weight_hh": (gates, size),
            "bias_ih": (gates,),
            "bias_hh": (gates,),
        }
        keys = {name: f"rec.{name}_l{index}" for name in shapes}
        layers.append(Layer(kind, *(reader.tensor(weights[keys[name]], keys[name], s) for name, s in shapes.items())))
    bias = weights.get("lin.bias") if about.get("bias_fl", True) else None
    dense = (
        reader.tensor(weights["lin.weight"], "lin.weight", (1, size)),
        reader.tensor(bias, "lin.bias", (1,)) if bias is not None else torch.zeros(1),
        "",
    )
    return captures.Recurrent(layers, [dense], skip=reader.number(about.get("skip", 0), "skip", 0, 1) == 1)


def _keras(reader: _Reader, data: Mapping[str, Any]) -> captures.Network:
    """RTNeural and AIDA-X: layers as Keras keeps them, transposed."""
    inputs = width = reader.number(data["in_shape"][-1], "in_shape", 1, 16)
    layers: list[Layer] = []
    dense: list[tuple[Tensor, Tensor, str]] = []
    for layer in data["layers"]:
        kind, out = layer["type"], reader.number(layer["shape"][-1], "shape", 1, WIDEST)
        if kind in ("lstm", "gru") and not dense:
            layers.append(_keras_recurrent(reader, kind, layer["weights"], width, out))
        elif kind == "dense" and layers:
            weight, bias = layer["weights"]
            transposed = reader.tensor(weight, "dense", (width, out)).T.contiguous()
            act = reader.activation(layer.get("activation", ""))
            dense.append((transposed, reader.tensor(bias, "dense", (out,)), act))
        else:
            raise reader.error(
                f"a layer of type {str(kind)[:40]!r} is not supported here; recurrent, then dense ones are"
            )
        width = out
    if not layers or not dense or width != 1:
        raise reader.error(f"it should go from {inputs} input(s) through recurrent and dense layers to one output")
    gains = [10.0 ** (reader.real(data.get(key, 0.0), key) / 20.0) for key in ("in_gain", "out_gain")]
    skip = reader.number(data.get("in_skip", 0), "in_skip", 0, 1) == 1
    return captures.Recurrent(layers, dense, skip=skip, gains=(gains[0], gains[1]))


def _keras_recurrent(reader: _Reader, kind: str, weights: Any, width: int, size: int) -> Layer:
    gates = 4 if kind == "lstm" else 3
    shape = (gates * size,) if kind == "lstm" else (2, gates * size)
    kernel, recurrent, bias = weights
    inner = reader.tensor(kernel, f"{kind} kernel", (width, gates * size)).T
    back = reader.tensor(recurrent, f"{kind} recurrent kernel", (size, gates * size)).T
    biases = reader.tensor(bias, f"{kind} bias", shape)
    if kind == "lstm":
        return Layer("LSTM", inner.contiguous(), back.contiguous(), biases, torch.zeros_like(biases))
    order = torch.cat([torch.arange(size, 2 * size), torch.arange(size), torch.arange(2 * size, 3 * size)])
    return Layer("GRU", inner[order], back[order], biases[0][order], biases[1][order])  # Keras: update, reset, new
