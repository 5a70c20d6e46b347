"""The gradient certificate over the whole registry, and the certifier against planted faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks import certificate
from hitchain.blocks.block import Block, NoteBlock
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Choice, Parameter, Settings

PAGE = Path(__file__).parents[2] / "docs" / "certificate.md"


@pytest.mark.parametrize("name", blocks.names())
def test_every_gradient_of_every_registered_block_is_finite_alive_and_right(name: str) -> None:
    failed = [str(gradient) for gradient in certificate.certify(certificate.example(name)) if not gradient.passed]
    assert not failed, "\n".join(failed)


def test_page_lists_the_blocks_and_parameters_of_the_registry() -> None:
    page = PAGE.read_text(encoding="utf-8")
    listed = {
        section.partition("\n")[0].strip(): {
            row.partition("=")[0] for row in re.findall(r"^\| `([^`(]+)`", section, re.M)
        }
        for section in page.split("\n## ")[1:]
    }
    registered = {name: {p.name for p in certificate.example(name).parameters} for name in blocks.names()}
    assert listed == registered, "docs/certificate.md is out of date: make docs"
    assert " 0 fail" in page


class Planted(Block):
    """y = x * (gain + faulty(amount))."""

    name = "effects/planted"
    parameters = (Parameter("gain", 0.1, 1.0, 0.5), Parameter("amount", 0.0, 1.0, 0.5))

    def faulty(self, amount: Tensor) -> Tensor:
        return amount.square() + amount

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        return audio * (settings["gain"] + self.faulty(settings["amount"]))[:, None, None]


class Dead(Planted):
    def faulty(self, amount: Tensor) -> Tensor:
        return 0.0 * amount


class Detached(Planted):
    def faulty(self, amount: Tensor) -> Tensor:
        return amount.detach().square()


class NotFinite(Planted):
    def faulty(self, amount: Tensor) -> Tensor:
        return torch.sqrt(amount)  # infinite slope at 0


class SlightlyWrong(Planted):
    """A gradient that is 1 % too steep."""

    def faulty(self, amount: Tensor) -> Tensor:
        return amount + 0.01 * (amount - amount.detach())


class DeadInItsUpperHalf(Planted):
    def faulty(self, amount: Tensor) -> Tensor:
        return torch.clamp(amount, max=0.7)


class Straight(Planted):
    """Straight-through rounding, declared as an estimate."""

    parameters = (Parameter("gain", 0.1, 1.0, 0.5), Parameter("amount", 0.0, 1.0, 0.5, estimate=True))

    def faulty(self, amount: Tensor) -> Tensor:
        return amount + (torch.round(4.3 * amount) - amount).detach()


class Late(Block):
    """Silent to its parameter for the first second: y[t] = x[t] + echo x[t - 1 s]."""

    name = "effects/late"
    parameters = (Parameter("echo", 0.0, 1.0, 0.5),)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        echo = torch.nn.functional.pad(audio, (self.sample_rate, 0))[..., : audio.shape[-1]]
        return audio + settings["echo"][:, None, None] * echo


class WrongInput(Planted):
    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        return super().forward(audio + 0.01 * (audio - audio.detach()), settings)


class Curves(Block):
    name = "effects/curves"
    parameters = (Choice("shape", ("plain", "bent", "flat"), "plain"),)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        curves = torch.stack([audio, torch.tanh(audio), audio.clamp(-0.5, 0.5)], dim=-1)
        return (curves * settings["shape"][:, None, None, :]).sum(dim=-1)


class Nudge(NoteBlock):
    """A per-note timing offset that forgets the gradient of the third note."""

    name = "notes/nudge"
    parameters = (Parameter("offset", -50.0, 50.0, 0.0, unit="ms", per_note=True),)
    forgets = False

    def forward(self, notes: Notes, settings: Settings) -> Notes:  # type: ignore[override]
        offset = settings["offset"]
        offset = offset[:, None].expand(-1, notes.count) if offset.ndim == 1 else offset
        if self.forgets:
            offset = torch.cat([offset[:, :2], offset[:, 2:3].detach(), offset[:, 3:]], dim=1)
        return notes.with_(onset=notes.onset + offset / 1000.0)


class Forgetful(Nudge):
    forgets = True


def verdicts(block: Block, parameter: str = "amount") -> dict[str, str]:
    return {g.place: g.verdict for g in certificate.certify(block) if g.parameter == parameter}


def test_a_right_block_passes() -> None:
    gradients = certificate.certify(Planted())
    assert {g.verdict for g in gradients} == {"exact"}
    assert {g.parameter for g in gradients} == {"gain", "amount", "(audio)"}
    assert max(g.error for g in gradients) < 1e-8  # polynomials: only rounding is left


@pytest.mark.parametrize(
    ("planted", "place", "verdict"),
    [
        (Dead, "middle", "dead"),
        (Detached, "middle", "dead"),
        (NotFinite, "low", "not finite"),
        (NotFinite, "middle", "exact"),
        (SlightlyWrong, "middle", "wrong"),
        (SlightlyWrong, "low", "wrong"),
        (DeadInItsUpperHalf, "high", "dead"),
        (DeadInItsUpperHalf, "middle", "exact"),
        (Straight, "middle", "estimate"),
    ],
)
def test_planted_faults_are_caught(planted: type[Block], place: str, verdict: str) -> None:
    assert verdicts(planted())[place] == verdict


def test_a_wrong_gradient_of_the_input_is_caught() -> None:
    assert verdicts(WrongInput(), "(audio)")["middle"] == "wrong"
    assert verdicts(WrongInput(), "gain")["middle"] == "exact"


def test_a_slow_parameter_is_heard_in_a_longer_signal() -> None:
    heard = [gradient for gradient in certificate.certify(Late()) if gradient.parameter == "echo"]
    assert {gradient.verdict for gradient in heard} == {"exact"}
    assert {gradient.samples for gradient in heard} == {65536}


def test_every_option_of_a_choice_is_certified() -> None:
    gradients = certificate.certify(Curves())
    assert {g.parameter for g in gradients} == {"shape=plain", "shape=bent", "shape=flat", "(audio)"}
    assert all(g.passed for g in gradients)


def test_each_note_counts() -> None:
    assert set(verdicts(Nudge(), "offset").values()) == {"exact"}
    assert "wrong" in verdicts(Forgetful(), "offset").values()


def test_the_table_names_what_fails() -> None:
    page = certificate.markdown(certificate.certify(NotFinite()))
    assert "| `amount` | not finite |" in page
    assert "**not finite** at low" in page
    assert " 1 fail" in page or " 2 fail" in page
