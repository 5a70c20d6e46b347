"""A selector: several blocks at one place of the line, of which one is chosen, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.nesting import Nest, inner_settings
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.errors import UserError

NONE = "none"
SELECTED = "selected"

Source = TypeVar("Source", Tensor, Notes)


class Selector(Nest):
    """Blocks of which one is heard: y = none x + sum of weight_i level_i block_i(x).

    Blocks differ in loudness, and a rating would choose the loudest: each has a level to be matched by. What is decided
    costs one block: one whose weight is exactly 0 for every candidate, and wants no gradient, is not run.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = ()

    def hold_options(
        self, blocks: Mapping[str, Any] | None, context: Mapping[str, Any], what: str, play: bool = False
    ) -> None:
        """Make the blocks to choose among, in the order of the config, and declare the choice.

        Args:
            blocks: {name: a block with its knobs and options}.
            context: given to constructors that ask for it.
            what: is heard where none of them is, for people.
            play: whether they are instruments.

        Raises:
            UserError: there is no block, or one is called `none`.
        """
        names = [str(name) for name in blocks] if isinstance(blocks, Mapping) else []
        if NONE in names:
            raise UserError(f"{self.name}: no block can be called '{NONE}': that option stands for {what}.")
        default = names[0] if names else NONE
        self.declare(Choice(SELECTED, (NONE, *names), default, f"the block that is heard; none is {what}"))
        for name in names:
            self.declare(Parameter(f"{name}_level", -24.0, 24.0, 0.0, "dB", varying=True, description=f"of {name}"))
        self.hold("", blocks, context, play)
        even = 1.0 / (len(names) + 1)
        self.probe = {SELECTED: [even] * (len(names) + 1)}  # type: ignore[misc]  # of this one, not of the class

    def blend(self, source: Source, settings: Settings, none: Tensor) -> Tensor:
        """The options, each by its weight: (batch, 1 or 2, samples). `none` is what is heard of none of them."""
        weights = settings[SELECTED]
        output = none * weights[:, 0, None, None].to(none)
        for index, (name, block) in enumerate(self.rows[""], start=1):
            weight = weights[:, index, None, None]
            if not weight.requires_grad and not bool(weight.any()):
                continue
            audio = self.run_option(block, source, inner_settings(name, settings))
            output = output + weight.to(audio) * over_audio(to_gain(settings[f"{name}_level"]), audio.shape[-1]) * audio
        return output

    def run_option(self, block: Block, source: Any, settings: Settings) -> Tensor:
        """One of the blocks on what comes in."""
        return torch.as_tensor(block(source, settings))

    def tail(self, settings: Settings) -> float:
        return max((block.tail(inner_settings(name, settings)) for name, block in self.rows[""]), default=0.0)
