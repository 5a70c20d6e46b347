"""Captured amplifiers: networks with frozen weights, from audio to audio at the rate they were trained at.

A network is a module over buffers: `forward(audio, knobs)`, audio (rows, samples) and knobs (rows, knobs, samples or
1) to (rows, samples), as after endless silence. Long audio goes through in stretches, each recomputed on the way back
instead of kept: memory stays that of one stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad
from torch.utils.checkpoint import checkpoint

from hitchain.blocks.dsp import fft, recurrent

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda x: x,
    "Tanh": torch.tanh,
    "Sigmoid": torch.sigmoid,
    "ReLU": torch.relu,
    "ELU": torch.nn.functional.elu,
    "LeakyReLU": torch.nn.functional.leaky_relu,
    "SiLU": torch.nn.functional.silu,
    "Hardtanh": torch.nn.functional.hardtanh,
    "Hardswish": torch.nn.functional.hardswish,
    "Softsign": torch.nn.functional.softsign,
}

STRETCH = 1 << 15
"""Samples that a network works on at a time."""


class Network(nn.Module):
    """What all captures have in common: how many knobs they have, and their weights as buffers."""

    knobs = 0

    def keep(self, name: str, value: Tensor) -> Tensor:
        self.register_buffer(name, value, persistent=False)
        return value

    def forward(self, audio: Tensor, knobs: Tensor) -> Tensor:
        raise NotImplementedError

    def rest(self, samples: int, knobs: Tensor) -> Tensor:
        """What it says to silence, where training left it saying anything: (rows or 1, samples or 1)."""
        return self.forward(knobs.new_zeros(1, 1), knobs[:1])


def _remembering(function: Callable[..., Any], *arguments: Tensor) -> Any:
    """A call whose inside is worked out again on the way back."""
    if not torch.is_grad_enabled() or not any(argument.requires_grad for argument in arguments):
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)


class Linear(Network):
    """A convolution: y[t] = bias + sum over k of weight[k] x[t - taps + 1 + k]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.keep("kernel", weight.flip(0)[None, None])
        self.keep("bias", bias)

    def forward(self, audio: Tensor, knobs: Tensor) -> Tensor:
        kernel = self.get_buffer("kernel").to(audio)
        return fft.convolve(audio[:, None], kernel)[:, 0] + self.get_buffer("bias").to(audio)


class Convolutional(Network):
    """A network of causal convolutions with a limited memory, of `reach` samples before the present one."""

    reach = 0

    def inside(self, audio: Tensor) -> Tensor:
        """(rows, 1, samples + reach) -> (rows, samples)."""
        raise NotImplementedError

    def forward(self, audio: Tensor, knobs: Tensor) -> Tensor:
        padded = pad(audio, (self.reach, 0))
        rows = []
        for row in torch.split(padded, 1):
            parts = []
            for start in range(0, audio.shape[-1], STRETCH):
                parts.append(_remembering(self.inside, row[:, None, start : start + STRETCH + self.reach]))
            rows.append(torch.cat(parts, dim=-1))
        return torch.cat(rows, dim=0)


class Array(NamedTuple):
    """A stack of WaveNet layers of one width. Tensors are named in the order in which a .nam file holds them."""

    rechannel: Tensor
    layers: Sequence[tuple[Tensor, ...]]
    """(convolution, its bias, input mixer, 1x1, its bias)"""
    head: Tensor
    head_bias: Tensor | None
    dilations: Sequence[int]
    activation: str
    gated: bool


class WaveNet(Convolutional):
    """Stacks of dilated convolutions (A. van den Oord et al., "WaveNet", 2016), as the Neural Amp Modeler uses them.

        z = conv(x) + mixer(input),    p = activation(z), or activation(z1) sigmoid(z2) where gated
        x' = x + W p + b,              output = scale * the sum of all p, through the heads of the stacks

    (E. Damskagg et al., "Deep learning for tube amplifier emulation", ICASSP 2019).
    """

    def __init__(self, arrays: Sequence[Array], scale: float) -> None:
        super().__init__()
        self.scale, self.arrays = scale, arrays
        self.reach = sum(
            (array.layers[0][0].shape[-1] - 1) * sum(array.dilations) + array.head.shape[-1] - 1 for array in arrays
        )
        for index, array in enumerate(arrays):
            self.keep(f"{index}_rechannel", array.rechannel)
            self.keep(f"{index}_head", array.head)
            if array.head_bias is not None:
                self.keep(f"{index}_head_bias", array.head_bias)
            for number, tensors in enumerate(array.layers):
                for part, tensor in enumerate(tensors):
                    self.keep(f"{index}_{number}_{part}", tensor)

    def inside(self, audio: Tensor) -> Tensor:
        signal, head = audio, None
        for index, array in enumerate(self.arrays):
            signal, head = self._array(f"{index}", array, signal, audio, head)
        return self.scale * torch.as_tensor(head)[:, 0, self.reach - audio.shape[-1] :]

    def _array(
        self, name: str, array: Array, signal: Tensor, condition: Tensor, head: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        def weight(key: str) -> Tensor:
            return self.get_buffer(f"{name}_{key}").to(signal)

        signal = conv1d(signal, weight("rechannel"))
        act, gate = ACTIVATIONS[array.activation], torch.sigmoid
        for number, dilation in enumerate(array.dilations):
            convolution, bias, mixer, out, out_bias = (weight(f"{number}_{part}") for part in range(5))
            level = conv1d(signal, convolution, bias, dilation=dilation)
            samples = level.shape[-1]
            level = level + conv1d(condition[..., -samples:], mixer)
            size = out.shape[1]
            post = act(level[:, :size]) * gate(level[:, size:]) if array.gated else act(level)
            head = post if head is None else head[..., -samples:] + post
            signal = signal[..., -samples:] + conv1d(post, out, out_bias)
        head_bias = weight("head_bias") if array.head_bias is not None else None
        return signal, conv1d(torch.as_tensor(head), weight("head"), head_bias)


class ConvNet(Convolutional):
    """A stack of dilated convolutions of two taps with an activation each (batch normalisation folded in), then one
    sum over the channels."""

    def __init__(
        self, layers: Sequence[tuple[Tensor, Tensor]], head: tuple[Tensor, Tensor], dilations: Sequence[int], act: str
    ) -> None:
        super().__init__()
        self.dilations, self.activation, self.reach = list(dilations), act, sum(dilations)
        for index, (weight, bias) in enumerate([*layers, head]):
            self.keep(f"weight_{index}", weight)
            self.keep(f"bias_{index}", bias)

    def inside(self, audio: Tensor) -> Tensor:
        signal = audio
        for index, dilation in enumerate([*self.dilations, 1]):
            weight, bias = (self.get_buffer(f"{part}_{index}").to(signal) for part in ("weight", "bias"))
            signal = conv1d(signal, weight, bias, dilation=dilation)
            if index < len(self.dilations):
                signal = ACTIVATIONS[self.activation](signal)
        return signal[:, 0]


class Recurrent(Network):
    """Recurrent layers, then dense ones, and the input added where the capture was trained so.

    Args:
        layers: from the input on. states: for each layer, the hidden state and cell to start from, or None for rest.
        dense: weight (out, in), bias (out,) and activation.
        skip: whether the input is added to the output.
        gains: before the network and after it, as ratios.
    """

    def __init__(
        self,
        layers: Sequence[recurrent.Layer],
        dense: Sequence[tuple[Tensor, Tensor, str]],
        skip: bool = False,
        states: Sequence[tuple[Tensor, Tensor]] | None = None,
        gains: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        self.knobs = layers[0].weight_ih.shape[1] - 1
        self.skip, self.gains, self.kinds = skip, gains, [layer.kind for layer in layers]
        self.activations = [activation for _, _, activation in dense]
        for index, layer in enumerate(layers):
            for part, weights in enumerate(layer[1:], start=1):
                self.keep(f"layer_{index}_{part}", torch.as_tensor(weights))
            rest = torch.zeros(layer.weight_hh.shape[1])
            for part, state in enumerate(states[index] if states is not None else (rest, rest)):
                self.keep(f"state_{index}_{part}", state)
        for index, (weight, bias, _) in enumerate(dense):
            self.keep(f"dense_{index}_weight", weight)
            self.keep(f"dense_{index}_bias", bias)

    def forward(self, audio: Tensor, knobs: Tensor) -> Tensor:
        rows = len(audio)
        states = [
            self.get_buffer(f"state_{index}_{part}").to(audio).expand(rows, -1)
            for index in range(len(self.kinds))
            for part in range(2)
        ]
        inputs = torch.cat([audio[:, None] * self.gains[0], knobs.expand(-1, -1, audio.shape[-1])], 1).transpose(1, 2)
        parts = []
        for piece in torch.split(inputs, STRETCH // 2, dim=1):
            heard, *states = _remembering(self._stretch, piece, *states)
            parts.append(heard)
        return torch.cat(parts, dim=1)

    def rest(self, samples: int, knobs: Tensor) -> Tensor:
        """It depends on the knobs, and settles only by and by."""
        return self.forward(knobs.new_zeros(len(knobs), samples), knobs)

    def _stretch(self, inputs: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        signal, after = inputs, []
        for index, kind in enumerate(self.kinds):
            weights = (self.get_buffer(f"layer_{index}_{part}").to(signal) for part in range(1, 5))
            signal, cell = recurrent.run_layer(
                recurrent.Layer(kind, *weights), signal, states[2 * index], states[2 * index + 1]
            )
            after += [signal[:, -1], cell]
        for index, activation in enumerate(self.activations):
            weight, bias = (self.get_buffer(f"dense_{index}_{part}").to(signal) for part in ("weight", "bias"))
            signal = ACTIVATIONS[activation](signal @ weight.T + bias)
        heard = signal[..., 0] + inputs[..., 0] if self.skip else signal[..., 0]
        return heard * self.gains[1], *after
