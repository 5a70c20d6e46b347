"""`python -m hitchain.rater.networks`: a table of parameter counts and speed on one core, for docs/rater.md."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from hitchain.rater.frontend import FrontEnd
from hitchain.rater.networks import ARCHITECTURES, create

SECONDS, RATE, REPEATS = 4.0, 44_100, 9


def main() -> None:
    torch.set_num_threads(1)
    front_end = FrontEnd()
    audio = 0.1 * torch.randn(1, 2, round(SECONDS * RATE), generator=torch.Generator().manual_seed(0))
    frames = front_end(audio, RATE)
    lines = [
        "| architecture | parameters | forward ms | forward and backward ms |",
        "|---|---|---|---|",
        f"| (front end) | 0 | {_milliseconds(lambda: _listen(front_end, audio)):.1f} "
        f"| {_milliseconds(lambda: _climb(lambda x: front_end(x, RATE).mean(), audio)):.1f} |",
    ]
    for name in ARCHITECTURES:
        torch.manual_seed(0)
        network = create(name, front_end.settings.mel_bands).eval().requires_grad_(False)
        count = sum(parameter.numel() for parameter in network.parameters())
        forward = _milliseconds(lambda network=network: _listen(network, frames))  # type: ignore[misc]
        both = _milliseconds(lambda network=network: _climb(lambda x: network(x).sum(), frames))  # type: ignore[misc]
        lines.append(f"| `{name}` | {count:,} | {forward:.1f} | {both:.1f} |")
    sys.stdout.write("\n".join(lines) + "\n")


def _listen(module: torch.nn.Module, signal: torch.Tensor) -> None:
    with torch.no_grad():
        module(signal, RATE) if isinstance(module, FrontEnd) else module(signal)


def _climb(score: Callable[[torch.Tensor], torch.Tensor], signal: torch.Tensor) -> None:
    rating = score(signal.clone().requires_grad_())
    torch.autograd.backward(rating)


def _milliseconds(work: Callable[[], None]) -> float:
    """The best of several runs in this process's own time, so that other work on the machine hardly counts."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1000.0 * min(times)


main()
