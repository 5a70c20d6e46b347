"""Raters: what they may not care about, what they must, and files that are refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from scipy.signal import resample_poly
from torch import Tensor

from hitchain import rater
from hitchain.errors import UserError
from hitchain.files import read_audio
from hitchain.rater import networks, weights
from hitchain.rater.appeal import faults
from hitchain.rater.frontend import FrontEnd, FrontEndSettings
from hitchain.rater.networks import ARCHITECTURES

Band = Callable[..., Tensor]
NAMES = ["appeal", "appeal/0", "appeal/1", "appeal/heldout"]
RATE = 44_100


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest) -> rater.Rater:
    return rater.load(request.param)


def test_the_members_differ_and_the_held_out_one_shares_nothing_with_them() -> None:
    climbed, heldout = rater.members("appeal"), rater.load("appeal/heldout")
    kinds = [(type(member.networks[0]), member.about[0]["split"]) for member in climbed]
    assert kinds[0][0] is not kinds[1][0]
    assert kinds[0][1] != kinds[1][1]
    assert all(kind is not type(heldout.networks[0]) and split != heldout.about[0]["split"] for kind, split in kinds)
    assert rater.load("appeal").names == [member.names[0] for member in climbed]


def test_the_ensemble_is_the_mean_of_its_members(music: Tensor) -> None:
    with torch.no_grad():
        mean = torch.stack([member(music, RATE) for member in rater.members()]).mean(0)
        torch.testing.assert_close(rater.load("appeal")(music, RATE), mean, rtol=1e-5, atol=1e-6)


def test_shipped_weights_are_small() -> None:
    files = list((Path(rater.__file__).parent / "appeal").glob("*.safetensors"))
    assert len(files) >= 3
    assert all(file.stat().st_size < 2**20 for file in files)


@pytest.mark.parametrize("decibels", [-40.0, -12.0, 12.0])
def test_level_does_not_matter(shipped: rater.Rater, music: Tensor, decibels: float) -> None:
    # At -40 dB the fade into silence at -100 dBFS still changes the level by under 1e-5.
    quiet = music * 10.0 ** (decibels / 20.0)
    torch.testing.assert_close(shipped(quiet, RATE), shipped(music, RATE), atol=2e-3, rtol=0)


@pytest.mark.parametrize(("up", "down", "rate"), [(160, 147, 48_000), (320, 147, 96_000), (320, 441, 32_000)])
def test_sample_rate_hardly_matters(shipped: rater.Rater, music: Tensor, up: int, down: int, rate: int) -> None:
    # The same sound at another rate: scipy's polyphase filter loses the top of the band, hence the tolerance.
    other = torch.from_numpy(resample_poly(music.numpy(), up, down, axis=-1, window=("kaiser", 12.0))).float()
    torch.testing.assert_close(shipped(other, rate), shipped(music, RATE), atol=0.03, rtol=0)


@pytest.mark.parametrize("rate", [8_000, 11_025, 192_000])
def test_every_sample_rate_is_heard(shipped: rater.Rater, rate: int, band: Band) -> None:
    assert torch.isfinite(shipped(band(1.5, rate), rate)).all()


@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), [("wav", "PCM_16", 0.01), ("flac", "PCM_24", 0.001)])
def test_the_container_does_not_matter(
    shipped: rater.Rater, music: Tensor, tmp_path: Path, suffix: str, subtype: str, tolerance: float
) -> None:
    path = tmp_path / f"music.{suffix}"
    soundfile.write(path, (0.5 * music[0]).T.numpy(), RATE, subtype=subtype)
    read, rate = read_audio(path)
    torch.testing.assert_close(shipped(read.unsqueeze(0), rate), shipped(music, RATE), atol=tolerance, rtol=0)


def test_mono_equals_the_same_sound_on_both_sides(shipped: rater.Rater, music: Tensor) -> None:
    mono = music.mean(1, keepdim=True)
    torch.testing.assert_close(shipped(mono, RATE), shipped(mono.expand(-1, 2, -1), RATE), atol=1e-5, rtol=0)


def test_left_and_right_may_swap(shipped: rater.Rater, music: Tensor) -> None:
    torch.testing.assert_close(shipped(music.flip(1), RATE), shipped(music, RATE), atol=1e-4, rtol=0)


def test_cropping_changes_little(shipped: rater.Rater, band: Band) -> None:
    # The spread over crops stays under the distance between music and noise.
    long = band(10.0, RATE)
    crops = torch.cat([long[..., k * RATE : (k + 4) * RATE] for k in range(7)])
    noise = torch.randn(7, 2, 4 * RATE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ratings, floor = shipped(crops, RATE), shipped(noise, RATE)
    assert ratings.std() < 0.25 * (ratings.mean() - floor.mean())


@pytest.mark.parametrize("seconds", [1.0, 1.37, 4.0, 31.0])
def test_any_length_from_a_second(shipped: rater.Rater, seconds: float, band: Band) -> None:
    with torch.no_grad():
        assert shipped(band(seconds, 22_050), 22_050).shape == (1,)


def test_items_of_a_batch_do_not_touch(shipped: rater.Rater, music: Tensor) -> None:
    batch = torch.cat([music, torch.randn_like(music), music * 0])
    torch.testing.assert_close(shipped(batch, RATE)[:1], shipped(music, RATE), atol=1e-5, rtol=0)


def test_long_audio_in_windows_is_the_mean_over_its_windows(band: Band) -> None:
    appeal = rater.load("appeal")
    long = band(23.0, RATE)
    parts = [appeal.each(long[..., :441_000], RATE), appeal.each(long[..., 441_000:], RATE)]
    wanted = (parts[0] * 10 + parts[1] * 13) / 23
    torch.testing.assert_close(appeal.rate(long, RATE), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        (torch.zeros(1, 2, 44_099), 44_100, "too short"),
        (torch.zeros(2, 88_200), 44_100, "batch, channels, samples"),
        (torch.zeros(1, 3, 88_200), 44_100, "1 or 2 channels"),
        (torch.zeros(1, 2, 88_200, dtype=torch.int16), 44_100, "floating-point"),
        (torch.zeros(1, 2, 88_200), 4_000, "8000 to 192000"),
        (torch.zeros(1, 2, 88_200), 44_100.5, "8000 to 192000"),
    ],
)
def test_unfit_audio_is_refused(audio: Tensor, rate: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        rater.load("appeal/0")(audio, rate)


def test_gradients_are_finite_at_silence_and_alive_on_music(shipped: rater.Rater, music: Tensor) -> None:
    silence = torch.zeros(1, 2, RATE, requires_grad=True)
    shipped(silence, RATE).sum().backward()
    assert torch.isfinite(silence.grad).all()
    audio = music.clone().requires_grad_()
    shipped(audio, RATE).sum().backward()
    assert torch.isfinite(audio.grad).all()
    assert audio.grad.square().mean().sqrt() * music.square().mean().sqrt() * music.numel() > 1e-3


def test_gradients_agree_with_finite_differences(shipped: rater.Rater, band: Band) -> None:
    # Central differences in float64 along directions shaped like the music; the error falls with the step squared.
    double = copy.deepcopy(shipped).double()
    audio = band(1.2, 16_000).double().requires_grad_()
    (gradient,) = torch.autograd.grad(double(audio, 16_000).sum(), audio)
    for seed in range(3):
        direction = band(1.2, 16_000, seed + 1).double() * torch.randn(1, 2, 1, dtype=torch.float64)
        direction = direction + 0.05 * torch.randn_like(direction)
        step = 1e-6
        with torch.no_grad():
            ahead, behind = (double(audio + sign * step * direction, 16_000) for sign in (1, -1))
        numeric = float(ahead - behind) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=1e-3, abs=1e-6)


def test_noise_and_silence_rate_under_music(shipped: rater.Rater, music: Tensor) -> None:
    random = np.random.default_rng(1)
    noises = [faults.coloured_noise(4 * RATE, RATE, slope, random) for slope in (0.0, 0.5, 1.0)]
    others = [torch.from_numpy(noise).float().unsqueeze(0) for noise in noises] + [torch.zeros_like(music)]
    with torch.no_grad():
        assert max(float(shipped(other, RATE)) for other in others) < float(shipped(music, RATE))


@pytest.mark.parametrize("fault", ["noise", "hollow", "codec_loss"])
def test_plain_faults_lower_the_rating_of_the_ensemble(music: Tensor, fault: str) -> None:
    """On average over six draws, since a draw may miss what this music holds."""
    appeal = rater.load("appeal")
    ruined = [faults.degrade(music[0].numpy(), RATE, 0.9, np.random.default_rng(k), [fault])[0] for k in range(6)]
    with torch.no_grad():
        assert appeal(torch.from_numpy(np.stack(ruined)), RATE).mean() < appeal(music, RATE)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_weights_travel_through_a_file(architecture: str, tmp_path: Path, music: Tensor) -> None:
    torch.manual_seed(0)
    network = networks.create(architecture, 80, width=24).eval()
    weights.save(tmp_path / "mine.safetensors", network, architecture, {"width": 24}, FrontEndSettings(), {})
    loaded = rater.load(tmp_path / "mine.safetensors")
    with torch.no_grad():
        # Frozen weights may take another kernel (the recurrent one does), which rounds differently.
        torch.testing.assert_close(loaded(music, RATE), network(FrontEnd()(music, RATE)), atol=1e-5, rtol=0)


def test_refused_files(tmp_path: Path) -> None:
    source = Path(rater.__file__).parent / "appeal" / "0.safetensors"
    good = source.read_bytes()
    tensors = load_file(source)
    header = json.loads(_header(source))
    name = sorted(tensors)[0]
    cases: dict[str, bytes | tuple[dict[str, Tensor], dict[str, object] | None]] = {
        "readable safetensors": good[: len(good) // 2],
        "not a readable": b"\x80\x04\x95pickle",
        "no hitchain header": (tensors, None),
        "does not hold a rater": (tensors, {**header, "format": "other"}),
        "format version 99": (tensors, {**header, "version": 99}),
        "did you mean 'mel_cnn'": (tensors, {**header, "architecture": "mel_cnnn"}),
        "mel_bands is 100000": (tensors, {**header, "front_end": {"mel_bands": 100_000}}),
        "unknown option": (tensors, {**header, "options": {"depth": 3}}),
        "is missing": ({key: t for key, t in tensors.items() if key != name}, header),
        "not part of the network": ({**tensors, "extra": torch.zeros(1)}, header),
        "its architecture needs": ({**tensors, name: torch.zeros(3, 3)}, header),
        "NaN or infinity": ({**tensors, name: tensors[name] * float("nan")}, header),
    }
    for number, (words, content) in enumerate(cases.items()):
        path = tmp_path / f"{number}.safetensors"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            given = {"hitchain": json.dumps(content[1])} if content[1] is not None else None
            save_file(content[0], path, metadata=given)
        with pytest.raises(UserError, match=words) as caught:
            rater.load(path)
        assert str(path) in str(caught.value)


def _header(path: Path) -> str:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return str(json.loads(raw[8 : 8 + length])["__metadata__"]["hitchain"])


@pytest.mark.parametrize(
    ("name", "words"), [("apeal", "'appeal'"), ("appeal/7", "no member '7'"), ("x.safetensors", "no rater")]
)
def test_unknown_names(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        rater.load(name)


def test_front_end_puts_a_tone_where_it_belongs() -> None:
    """A 1 kHz tone on both sides: all of the power (0 dB) is in the middle, in the band whose centre is nearest."""
    time = torch.arange(32_000) / 32_000
    tone = torch.sin(2 * torch.pi * 1000 * time).expand(1, 2, -1)
    frames = FrontEnd()(tone, 32_000)
    power = (10.0 ** ((frames * 70.0 - 70.0) / 10.0) - 1e-7)[0, :, :, 20:-20].mean(-1)
    assert float(power[0].sum()) == pytest.approx(1.0, rel=0.15)  # triangles overlap to a sum of about one
    assert float(power[1].sum()) == pytest.approx(0.0, abs=1e-6)
    edges = 700 * (10 ** (np.linspace(2595 * np.log10(1 + 30 / 700), 2595 * np.log10(1 + 15500 / 700), 82) / 2595) - 1)
    assert abs(edges[int(power[0].argmax()) + 1] - 1000) < 60
