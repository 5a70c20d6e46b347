"""Feedback around anything linear, by tensor operations alone: what runs on a GPU in place of a loop over samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MOST_ROUNDS = 2000
SMALL = {torch.float32: 1e-7, torch.float64: 1e-13}
"""Change of a round, relative to the peak, at which the echoes of all later rounds are taken for nothing."""


def closed_loop(returned: Callable[[Tensor], Tensor], audio: Tensor) -> Tensor:
    """v = audio + returned(v): what goes into a loop, where `returned` brings it back late and fainter.

    The sum of all rounds: v = audio + returned(audio) + returned(returned(audio)) + ... The gradient takes the same
    sum with the adjoint of `returned`, so that no round is kept (the implicit function theorem; Bai, Kolter and Koltun
    2019, "Deep equilibrium models").

    Args:
        returned: linear in what it is given; differentiable in whatever else it is made of.
        audio: any shape.

    Returns:
        v, of that shape. Differentiable (once) in the audio and in what `returned` is made of.
    """
    with torch.no_grad():
        settled = _rounds(returned, audio)
    loop = audio + returned(settled)
    if loop.requires_grad:
        start = settled.detach().requires_grad_()
        with torch.enable_grad():
            once = returned(start)

        def adjoint(grad: Tensor) -> Tensor:
            return _rounds(lambda value: torch.autograd.grad(once, start, value, retain_graph=True)[0], grad)

        loop.register_hook(adjoint)  # type: ignore[no-untyped-call]
    return loop


def _rounds(step: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """value + step(value) + step(step(value)) + ..., until a round adds nothing."""
    total, part = value, value
    least = SMALL[value.dtype] * float(value.detach().abs().max()) if value.numel() else 0.0
    for _ in range(MOST_ROUNDS):
        part = step(part)
        total = total + part
        if float(part.detach().abs().max()) <= least:
            break
    return total
