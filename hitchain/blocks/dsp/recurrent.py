"""Recurrent layers with frozen weights, as `torch.nn.LSTM` and `torch.nn.GRU` define them, exact in both directions.

    LSTM   i, f, o = s(W x + b + U h),  g = tanh(...),    c' = f c + i g,    h' = o tanh(c')
    GRU    r, z = s(W x + b + U h),  n = tanh(W x + b + r (U h + b_n)),      h' = (1 - z) n + z h

s is the logistic function; the gates stand in PyTorch's order. A gradient flows to the input and to the states, not to
the weights. PyTorch runs these on a CPU as a row of small operations for each sample; here one compiled pass does all
samples, and keeps only the states for the way back.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows


class Layer(NamedTuple):
    """The weights of one layer, as PyTorch names and shapes them, without gradient."""

    kind: Literal["LSTM", "GRU"]
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def run_layer(
    layer: Layer, inputs: Tensor, hidden: Tensor, cell: Tensor, fused: bool | None = None
) -> tuple[Tensor, Tensor]:
    """A sequence through a layer.

    Args:
        inputs: (rows, samples, inputs).
        hidden, cell: the state before the first sample, (rows, size); a GRU leaves the cell as it is.
        fused: the compiled kernel instead of PyTorch's own; by default on CPU.

    Returns:
        the hidden states (rows, samples, size), of which the last is the state to go on from, and the last cell.
    """
    if not (inputs.device.type == "cpu" if fused is None else fused):
        return _by_torch(layer, inputs, hidden, cell)
    size = layer.weight_hh.shape[1]
    if layer.kind == "LSTM":
        drive = inputs @ layer.weight_ih.T + (layer.bias_ih + layer.bias_hh)
        states, last = _Lstm.apply(drive, layer.weight_hh, hidden, cell)  # type: ignore[no-untyped-call]
        return states, last
    inner = torch.cat([layer.bias_hh[: 2 * size], torch.zeros_like(layer.bias_hh[2 * size :])])
    drive = inputs @ layer.weight_ih.T + (layer.bias_ih + inner)
    states = _Gru.apply(drive, layer.weight_hh, layer.bias_hh[2 * size :], hidden)  # type: ignore[no-untyped-call]
    return states, cell


def _by_torch(layer: Layer, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    weights = list(layer[1:])
    if layer.kind == "LSTM":
        states, _, last = torch.lstm(inputs, [hidden[None], cell[None]], weights, True, 1, 0.0, False, False, True)
        return states, last[0]
    states, _ = torch.gru(inputs, hidden[None], weights, True, 1, 0.0, False, False, True)
    return states, cell


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: Tensor, weights: Tensor, start: Tensor, start_cell: Tensor) -> tuple[Tensor, Tensor]:
        from hitchain.blocks.dsp import recurrent_kernels as kernels

        hidden = drive.new_empty(*drive.shape[:2], start.shape[1])
        cell = torch.empty_like(hidden)
        given = _arrays(drive, weights.T, start, start_cell)
        over_rows(kernels.lstm_forward, len(drive), *given, hidden.numpy(), cell.numpy())
        ctx.save_for_backward(drive, weights, start, start_cell, hidden, cell)
        return hidden, cell[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        from hitchain.blocks.dsp import recurrent_kernels as kernels

        drive, weights, *states = ctx.saved_tensors
        grad_start, grad_cell = torch.zeros_like(states[0]), grad_last.clone().contiguous()
        grad_drive = torch.empty_like(drive, memory_format=torch.contiguous_format)
        given = _arrays(drive, weights.T, weights, *states, grad)
        over_rows(kernels.lstm_backward, len(drive), *given, grad_start.numpy(), grad_cell.numpy(), grad_drive.numpy())
        return grad_drive, None, grad_start, grad_cell


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: Tensor, weights: Tensor, bias: Tensor, start: Tensor) -> Tensor:
        from hitchain.blocks.dsp import recurrent_kernels as kernels

        hidden = drive.new_empty(*drive.shape[:2], start.shape[1])
        over_rows(kernels.gru_forward, len(drive), *_arrays(drive, weights.T, bias, start), hidden.numpy())
        ctx.save_for_backward(drive, weights, bias, start, hidden)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from hitchain.blocks.dsp import recurrent_kernels as kernels

        drive, weights, bias, start, hidden = ctx.saved_tensors
        grad_start, grad_drive = torch.zeros_like(start), torch.empty_like(drive, memory_format=torch.contiguous_format)
        given = _arrays(drive, weights.T, weights, bias, start, hidden, grad)
        over_rows(kernels.gru_backward, len(drive), *given, grad_start.numpy(), grad_drive.numpy())
        return grad_drive, None, None, grad_start


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
