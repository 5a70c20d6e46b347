"""A network that learns: from a batch of crops to one step of the optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hitchain.rater import networks
from hitchain.rater.frontend import FrontEnd, FrontEndSettings
from hitchain.rater.shards.layout import SAMPLE_RATE
from hitchain.rater.training import distributed, losses
from hitchain.rater.training.average import Average
from hitchain.rater.training.checkpoint import named
from hitchain.rater.training.settings import TrainSettings


class Learner:
    """Network, optimiser and averaged weights.

    Args:
        classes: head -> class names; {} for a network that only rates.
        above: for A/B sampling, from which standardised target on a song is in set A.
    """

    def __init__(
        self, settings: TrainSettings, classes: Mapping[str, list[str]], front_end: FrontEndSettings, device: str,
        above: float | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.classes, self.above, self.device = settings, classes, above, torch.device(device)
        self.front_end = FrontEnd(front_end)
        torch.manual_seed(settings.seed)
        self.network = networks.create(
            settings.architecture, front_end.mel_bands, {head: list(names) for head, names in classes.items()},
            **settings.options,
        )  # fmt: skip
        distributed.share_batch_statistics(self.network)
        self.network.to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average = Average(self.network, settings.ema)

    def frames(self, crops: Tensor) -> Tensor:
        """What the network hears of crops: audio (batch, 2, samples) goes through the front end, frames are frames."""
        crops = crops.to(self.device)
        return crops if crops.ndim == 4 else self.front_end(crops, SAMPLE_RATE)

    def outputs(self, frames: Tensor) -> dict[str, Tensor]:
        """{"popularity": (batch,), head: (batch, classes)} in float32.

        With half precision the network computes in bfloat16; the front end, with its logarithm, never does.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._halves()):
            outputs = self.network.tasks(frames)
        return {name: output.float() for name, output in outputs.items()}

    def _halves(self) -> bool:
        if self.settings.precision == "auto":
            return self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return self.settings.precision == "bfloat16"

    def step(
        self, crops: Tensor, sizes: list[int], targets: Tensor, numbers: Mapping[str, Tensor], seed: int
    ) -> tuple[float, Tensor]:
        """Learn from a batch.

        Args:
            crops: this process's share of the batch.
            sizes: how many crops each process has.
            targets: (batch,) of the whole batch; NaN where unknown.
            numbers: head -> (batch,) class numbers of the whole batch; -1 where unknown.
            seed: of dropout.

        Returns:
            The loss of the whole batch and its ratings (batch,).
        """
        torch.manual_seed(seed)
        self.network.train()
        shares = self.outputs(self.frames(crops))
        outputs = {name: distributed.whole_batch(share, sizes) for name, share in shares.items()}
        loss = self._loss(
            outputs, targets.to(self.device), {head: number.to(self.device) for head, number in numbers.items()}
        )
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        distributed.sum_gradients(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.optimiser.step()
        self.average.update(self.network)
        return loss.item(), outputs["popularity"].detach().cpu()

    def _loss(self, outputs: Mapping[str, Tensor], targets: Tensor, numbers: Mapping[str, Tensor]) -> Tensor:
        settings, ratings = self.settings, outputs["popularity"]
        loss = torch.zeros((), device=ratings.device)
        if settings.loss != "pairwise":
            loss = loss + losses.squared_error(ratings, targets)
        if settings.loss != "mse":
            weight = settings.pair_weight if settings.loss == "both" else 1.0
            loss = loss + weight * losses.ranking(ratings, targets, settings.pair_margin, self.above)
        if numbers:
            logits = {head: outputs[head] for head in numbers}
            loss = loss + settings.head_weight * losses.classes(logits, numbers)
        return loss

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint needs: network, optimiser and average."""
        optimiser = {
            f"{index}.{name}": torch.as_tensor(value)
            for index, entry in self.optimiser.state_dict()["state"].items()
            for name, value in entry.items()
        }
        averaged = self.average.state if self.settings.ema > 0.0 else {}
        return {
            **{f"network.{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"optimiser.{name}": tensor for name, tensor in optimiser.items()},
            **{f"average.{name}": tensor for name, tensor in averaged.items()},
        }

    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Go back to what `tensors` held, after so many steps."""
        self.network.load_state_dict(named(tensors, "network."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in named(tensors, "optimiser.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        groups: Any = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.average.restore(named(tensors, "average.") or self.network.state_dict(), updates)
