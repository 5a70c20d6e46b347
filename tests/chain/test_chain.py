"""The line itself: fusing, stems, windows, independence of candidates, determinism."""

from __future__ import annotations

import math

import pytest
import torch

from hitchain.chain import Knobs, Song, Window
from hitchain.chain.chain import STAGES


def decibels_below(error: torch.Tensor, signal: torch.Tensor) -> float:
    """Root mean square of the error against that of the signal, in dB."""
    return 20 * math.log10(float(error.square().mean().sqrt()) / float(signal.square().mean().sqrt()) + 1e-12)


def test_stems_give_the_same_master_as_the_fused_line(demo: Song) -> None:
    with torch.no_grad():
        master = demo(demo.start)
    assert decibels_below(demo.render()["master"] - master, master) < -90


def test_a_stem_through_the_next_stage_is_the_next_stem(demo: Song) -> None:
    rendered = demo.render()
    for track in demo.tracks.values():
        for before, stage in zip(STAGES[1:], track.line, strict=False):
            with torch.no_grad():
                again = stage(rendered[f"{track.name}/{before}"], demo.start)
            assert torch.equal(again, rendered[f"{track.name}/{stage.name}"])


def test_faders_sum_to_the_mix_and_the_mix_masters_to_the_master(demo: Song) -> None:
    rendered = demo.render()
    faders = torch.stack([rendered[f"{track.name}/fader"] for track in demo.tracks.values()])
    assert torch.allclose(faders.sum(dim=0), rendered["mix"], atol=1e-6)
    with torch.no_grad():
        assert torch.equal(demo.mastering(rendered["mix"], demo.start), rendered["master"])


def test_every_track_sounds_at_every_stage(demo: Song) -> None:
    for name, audio in demo.render().items():
        level = 20 * math.log10(float(audio.square().mean().sqrt()) + 1e-12)
        assert -60 < level < 6, f"{name}: {level:.1f} dB"


def test_rendering_twice_gives_the_same_samples(demo: Song) -> None:
    with torch.no_grad():
        assert torch.equal(demo(demo.start), demo(demo.start))


def test_candidates_do_not_touch_each_other(demo: Song) -> None:
    patch = demo.patch(batch=3, seed=1)
    with torch.no_grad():
        together = demo(patch)
        for index in range(3):
            alone = demo(patch.item(index))
            assert decibels_below(together[index : index + 1] - alone, alone) < -80
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_a_window_of_the_mix_is_that_stretch_of_the_whole(demo: Song) -> None:
    with torch.no_grad():
        whole = demo.mix(demo.start)
        part = demo.mix(demo.start, Window(2.0, 1.5))
    rate = demo.sample_rate
    expected = whole[..., 2 * rate : 2 * rate + part.shape[-1]]
    assert part.shape[-1] == round(1.5 * rate)
    # what rang for longer than the pre-roll (a reverb's tail, a slow compressor) is all that may differ
    assert decibels_below(part - expected, expected) < -25


def test_the_gradient_reaches_every_knob_of_the_song() -> None:
    demo = Song.load("demo")
    knobs = Knobs(demo, demo.learn)
    z = knobs.unbounded(demo.start).requires_grad_(True)
    audio = demo(knobs.apply(z, demo.start))
    weights = torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((audio * weights).sum() + audio.square().sum(), z)
    assert bool(torch.isfinite(gradient).all())
    dead = [knob.name for knob in knobs.knobs if not bool(gradient[:, knob.first : knob.first + knob.size].any())]
    assert dead == []


def test_the_demo_frees_60_to_150_knobs() -> None:
    song = Song.load("demo")
    assert 60 <= len(Knobs(song, song.learn)) <= 150
    assert 20 <= song.length <= 40


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 192000])
def test_other_sample_rates(rate: int) -> None:
    song = Song.load(
        "solo", overrides=[f"sample_rate={rate}", "song.length=1.5", "amp=tube", "cab=speaker", "mic=microphone"]
    )
    with torch.no_grad():
        audio = song(song.start)
    assert audio.shape == (1, 2, round(1.5 * rate))
    assert bool(torch.isfinite(audio).all())
    assert float(audio.abs().max()) > 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_master() -> None:
    here = Song.load("demo", overrides=["song.length=4.0"])
    there = Song.load("demo", overrides=["song.length=4.0", "device=cuda"])
    with torch.no_grad():
        expected = here(here.start)
        assert decibels_below(there(there.start).cpu() - expected, expected) < -60
