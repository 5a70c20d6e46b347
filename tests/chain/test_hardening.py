"""Climbs through effects over recordings, and the ablation that uses them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hitchain.chain import effects_climb, hardening
from hitchain.rater.appeal.corpus import RATE
from hitchain.rater.frontend import FrontEnd


def treble(audio: Tensor) -> Tensor:
    """Level [dB] of the differences between samples: rises with the treble."""
    power = (audio[..., 1:] - audio[..., :-1]).square().mean((1, 2)) / audio.square().mean((1, 2))
    return 10.0 * torch.log10(power)


@pytest.fixture(scope="module")
def audio() -> Tensor:
    """Pink noise in bursts: something for an equaliser, a compressor and a reverb to work on."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft(torch.randn(2, 2, RATE, generator=generator))
    pink = torch.fft.irfft(spectrum / torch.arange(1, spectrum.shape[-1] + 1).sqrt(), RATE)
    gate = 0.2 + 0.8 * ((torch.arange(RATE) // (RATE // 8)) % 2)
    return 0.1 * pink * gate / pink.std()


def test_neutral_effects_hardly_do_anything(audio: Tensor) -> None:
    effects = effects_climb.Effects(RATE)
    heard = effects(audio, effects.neutral().expand(2, -1))
    front_end = FrontEnd()
    moved = 70.0 * (front_end(heard, RATE) - front_end(audio, RATE))[:, 0].abs().mean()
    assert moved < 2.0  # dB, the mean over bands and moments


def test_a_climb_through_effects_raises_the_rating_and_repeats(audio: Tensor) -> None:
    paths = [list(effects_climb.climb_effects(treble, audio, 3, RATE, steps=6)) for _ in range(2)]
    assert len(paths[0]) == 7
    assert (treble(paths[0][-1]) > treble(paths[0][0]) + 1.0).all()
    torch.testing.assert_close(paths[0][-1], paths[1][-1], rtol=0, atol=0)
    other = next(iter(effects_climb.climb_effects(treble, audio, 4, RATE, steps=1)))
    assert not torch.equal(other, paths[0][0])


def test_the_table_states_transfer_at_an_equal_gain() -> None:
    paths = {
        "climbed": [[0.0, 0.0], [1.0, 1.0]],
        "same": [[2.0, 2.0], [2.5, 2.5]],
        "plain": [[0.0, 0.0], [1.0, 1.0]],
        "trees": [[0.0, 0.0], [-1.0, -1.0]],
    }
    member = {"accuracy": 0.8, "paths": {"waveform": paths, "chain": paths}}
    rows = [row for row in hardening.table_of({"plain": [member, member]}).splitlines() if row.startswith("| plain")]
    expected = "| plain | 0.800 | 1.00 | 0.50 (0.50 to 0.50) | 1.00 (1.00 to 1.00) | -1.00 (-1.00 to -1.00) |"
    assert rows == [expected, expected]


@pytest.mark.parametrize("arguments", [[], ["melt"], ["ablation", "date=x"], ["ablation", "seeds=two"]])
def test_bad_arguments_are_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert hardening.main(arguments) == 2
    assert capsys.readouterr().err.strip()


def test_a_missing_corpus_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hardening.main(["ablation", f"data={tmp_path}", f"out={tmp_path}"]) == 2
    assert "SOURCES.tsv" in capsys.readouterr().err
