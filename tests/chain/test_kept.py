"""Audio that is kept between steps is the audio that would have been rendered."""

from __future__ import annotations

import pytest
import torch

from hitchain.chain import Knobs, Song, Window
from hitchain.chain.kept import keep


@pytest.mark.parametrize(
    ("learn", "whole", "lines"),
    [
        (["mastering.*"], {"drums", "bass", "lead", "chords"}, set()),
        (["lead.fader.*", "bass.instrument.*"], {"drums", "chords"}, {"lead"}),
    ],
)
def test_kept_audio_gives_the_same_mix(demo: Song, learn: list[str], whole: set[str], lines: set[str]) -> None:
    knobs = Knobs(demo, learn)
    kept = keep(demo, demo.start, {knob.path for knob in knobs.knobs})
    assert kept.whole == whole
    assert set(kept.lines) == lines
    patch = knobs.apply(knobs.vary(knobs.unbounded(demo.start), 2, 0.1, torch.Generator().manual_seed(0)), demo.start)
    window = Window(0.0, 2.0)  # from the start, so that no ringing from before a window's pre-roll is missing
    with torch.no_grad():
        without, with_kept = demo(patch, window), demo(patch, window, kept)
    assert torch.allclose(without, with_kept, atol=1e-4)
    assert not torch.allclose(with_kept[0], with_kept[1], atol=1e-3)
