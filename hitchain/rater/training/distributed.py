"""Training in several processes under torchrun, so that they compute what one process would.

Each process hears its share of a batch. The ratings of all are gathered and every process computes the loss of the
whole batch (a ranking loss needs pairs across shares), whose gradients through its own share are then summed. Batch
statistics are those of the whole batch, too. In one process all of this does nothing.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor, nn

T = TypeVar("T")

LONGEST_WAIT = datetime.timedelta(days=7)
"""The other processes wait while the first prepares a source."""


def rank() -> int:
    """The number of this process, 0 for the one that writes files."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def processes() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that torchrun started, for the time of the block; alone where there are none.

    Yields:
        The device of this process: on CUDA, each has its own.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or torch.distributed.is_initialized():
        yield device
        return
    on_gpu = device.startswith("cuda")
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=LONGEST_WAIT)
    try:
        own = f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else device
        if on_gpu:
            torch.cuda.set_device(own)
        yield own
        torch.distributed.barrier()  # one that left while the others still spoke to it would be ended by an abort
    finally:
        torch.distributed.destroy_process_group()


def wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def gathered(value: T) -> list[T]:
    """This value of every process, by rank. Objects of this program only: they travel pickled between its processes."""
    if processes() == 1:
        return [value]
    values: list[Any] = [None] * processes()
    torch.distributed.all_gather_object(values, value)
    return values


def whole_batch(share: Tensor, sizes: list[int]) -> Tensor:
    """The rows of all processes, in order of rank: this one's with their gradients, the others' as numbers.

    Args:
        share: (sizes[rank], ...).
    """
    if processes() == 1:
        return share
    largest = max(sizes)
    padded = torch.zeros(largest, *share.shape[1:], dtype=share.dtype, device=share.device)
    padded[: share.shape[0]] = share.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(parts, padded)
    rows = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    rows[rank()] = share
    return torch.cat(rows)


def sum_gradients(network: nn.Module) -> None:
    """Add up the gradients of all processes, in one message."""
    if processes() == 1:
        return
    own = [parameter for parameter in network.parameters() if parameter.requires_grad]
    flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).reshape(-1) for p in own])
    torch.distributed.all_reduce(flat)
    for parameter, gradient in zip(own, torch.split(flat, [p.numel() for p in own]), strict=True):
        parameter.grad = gradient.view_as(parameter)


def share_batch_statistics(network: nn.Module) -> None:
    """Let every batch normalisation of a network use the statistics of all processes' shares."""
    if processes() == 1:
        return
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.__class__ = _Shared1d if isinstance(module, nn.BatchNorm1d) else _Shared2d


class _Summed(torch.autograd.Function):
    """The sum over all processes, of a value and of its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


class _SharedStatistics(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over all processes' batches. PyTorch's own (SyncBatchNorm) runs on GPUs only."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1] + [1] * (input.ndim - 2)
        values = input.float()
        count = torch.full((1,), float(values.numel() // values.shape[1]), device=values.device)
        sums = _Summed.apply(torch.cat([values.sum(axes), count]))  # type: ignore[no-untyped-call]
        mean = sums[:-1] / sums[-1]
        spread = _Summed.apply((values - mean.view(shape)).square().sum(axes))  # type: ignore[no-untyped-call]
        variance = spread / sums[-1]
        self._remember(mean.detach(), variance.detach(), float(sums[-1].detach()))
        normal = (values - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normal.to(input.dtype)
        return result

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / max(1.0, count - 1.0), momentum)


class _Shared1d(_SharedStatistics, nn.BatchNorm1d):
    pass


class _Shared2d(_SharedStatistics, nn.BatchNorm2d):
    pass
