"""Explanations: raters that are known to hear one band, one moment or the width, and the shipped one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from browser import Browser, needs_browser
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hitchain import rater as raters
from hitchain.cli import main
from hitchain.files import write_wav
from hitchain.rater import mfcc
from hitchain.rater.explain import edits, picture, summary
from hitchain.rater.explain.attribution import attribute, integrated_gradients
from hitchain.rater.explain.counterfactual import Counterfactuals, counterfactuals
from hitchain.rater.features import NAMES
from hitchain.rater.frontend import FrontEndSettings, mel_centres
from hitchain.rater.rater import Rater

RATE = 32_000
CENTRES = mel_centres(FrontEndSettings()).numpy()


class Hears(nn.Module):
    """A rating known beforehand: a saturating function of the level of one signal, between two frequencies and times.

    Frames are 20 ms apart. `times` are those of a window.
    """

    def __init__(
        self,
        low: float = 0.0,
        high: float = 1e5,
        times: tuple[float, float] = (0.0, 1e5),
        sign: float = 1.0,
        side: int = 0,
    ) -> None:
        super().__init__()
        self.bands = torch.from_numpy((low <= CENTRES) & (high >= CENTRES))
        self.times, self.sign, self.side = times, sign, side

    def forward(self, frames: Tensor) -> Tensor:
        time = torch.arange(frames.shape[-1]) * 0.02
        heard = frames[:, self.side][:, self.bands][..., (time >= self.times[0]) & (time < self.times[1])]
        return self.sign * torch.tanh(3.0 * heard.square().mean(dim=(1, 2)))


def rater_of(*networks: nn.Module) -> Rater:
    return Rater(
        list(networks), FrontEndSettings(), [str(number) for number in range(len(networks))], [{}] * len(networks)
    )


@pytest.fixture(scope="module")
def noise() -> Tensor:
    """Six seconds of stereo noise, loud from 3 s to 4 s: (2, samples)."""
    audio = 0.05 * torch.randn(2, 6 * RATE, generator=torch.Generator().manual_seed(0))
    audio[:, 3 * RATE : 4 * RATE] *= 6.0
    return audio


def test_it_finds_the_band_that_is_heard(noise: Tensor) -> None:
    found = attribute(rater_of(Hears(700.0, 1400.0)), noise, RATE, "silence", 10.0)
    rows = {row["band"]: row["change"] for row in summary.bands(found, CENTRES)}
    assert max(rows, key=lambda band: rows[band]) == 1000
    assert rows[1000] == pytest.approx(found.difference, rel=1e-3)
    outside = (CENTRES < 700.0) | (CENTRES > 1400.0)
    assert np.abs(found.values[:, :, outside]).max() == 0.0
    assert np.abs(found.values[:, 1]).max() == 0.0  # the side is not heard


@pytest.mark.parametrize(("sign", "name"), [(1.0, "raising"), (-1.0, "lowering")])
def test_it_finds_the_moment_that_is_heard(noise: Tensor, sign: float, name: str) -> None:
    found = attribute(rater_of(Hears(sign=sign)), noise, RATE, "mean", 10.0)
    first = summary.moments(found, 1.0, 3)[name][0]
    assert first["start"] == pytest.approx(3.0, abs=0.15)
    assert np.sign(first["change"]) == sign


def test_moments_in_long_audio_are_found_in_their_window(noise: Tensor) -> None:
    """In windows of 2 s, 0.5 s to 1 s of each is heard: only those places get credit."""
    found = attribute(rater_of(Hears(times=(0.5, 1.0))), noise, RATE, "silence", 2.0)
    credited = np.unique(np.floor(found.times[np.abs(found.values).sum(axis=(0, 1, 2)) > 0.0] / 0.1 + 1e-6))
    assert credited.tolist() == [5, 6, 7, 8, 9, 25, 26, 27, 28, 29, 45, 46, 47, 48, 49]


def test_of_a_linear_network_it_is_weight_times_distance() -> None:
    weight, frames, baseline = (torch.randn(2, 80, 30, generator=torch.Generator().manual_seed(n)) for n in range(3))

    class Linear(nn.Module):
        def forward(self, heard: Tensor) -> Tensor:
            return (weight * heard).sum(dim=(1, 2, 3))

    found = integrated_gradients(Linear(), frames, baseline)
    torch.testing.assert_close(found.values, weight * (frames - baseline), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 1000), st.floats(0.5, 4.0))
def test_attributions_sum_to_the_difference(seed: int, steepness: float) -> None:
    """Completeness, of a curved network and any frames."""
    random = torch.Generator().manual_seed(seed)
    weight, frames, baseline = (torch.randn(2, 80, 20, generator=random) / 40.0 for _ in range(3))

    class Curved(nn.Module):
        def forward(self, heard: Tensor) -> Tensor:
            return torch.sin(steepness * (weight * heard).sum(dim=(1, 2, 3)) * 40.0) + heard.square().mean(
                dim=(1, 2, 3)
            )

    found = integrated_gradients(Curved(), frames, baseline)
    assert float(found.values.sum()) == pytest.approx(found.rating - found.reference, abs=1e-4, rel=2e-3)


@pytest.mark.parametrize("baseline", ["mean", "silence"])
def test_the_shipped_rater_is_explained_completely(music: Tensor, baseline: str) -> None:
    appeal = raters.load("appeal")
    found = attribute(appeal, music[0], 44_100, baseline, 2.0)
    assert found.completeness_error < 0.01
    np.testing.assert_allclose(found.rating, appeal.rate(music, 44_100, 2.0)[0].numpy(), atol=1e-5)
    by_member = found.values.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(by_member, found.rating - found.reference, atol=2e-3)


def tried(
    network: nn.Module, audio: Tensor, *others: nn.Module
) -> tuple[dict[str, dict[str, object]], Counterfactuals]:
    rater = rater_of(network, *others)
    found = counterfactuals(lambda changed: rater.rate(changed[None], RATE)[0], audio, RATE)
    return {str(row["name"]): row for row in found.rows}, found


def test_changes_have_the_signs_they_must(noise: Tensor) -> None:
    rows, found = tried(Hears(700.0, 1400.0), noise)
    assert rows["1 kHz +3 dB"]["change"] > found.floor  # type: ignore[operator]
    assert rows["1 kHz -3 dB"]["change"] < -found.floor  # type: ignore[operator]
    assert rows["1 kHz +3 dB"]["clear"]
    assert rows["1 kHz -3 dB"]["clear"]
    assert abs(rows["250 Hz +3 dB"]["change"]) < rows["1 kHz +3 dB"]["change"] / 3  # type: ignore[operator, arg-type]
    assert not rows["level +3 dB"]["clear"]  # the front end sets the level
    changes = [abs(row["change"]) for row in found.rows]
    assert changes == sorted(changes, reverse=True)


def test_width_is_tried_where_there_is_a_side(noise: Tensor) -> None:
    rows, _ = tried(Hears(side=1), noise[:, : 3 * RATE])
    assert rows["mono"]["change"] == min(row["change"] for row in rows.values())  # type: ignore[type-var]
    assert rows["half again as wide"]["change"] > 0 > rows["half as wide"]["change"]  # type: ignore[operator]
    for narrow in (noise[:1, : 3 * RATE], noise[:1, : 3 * RATE].repeat(2, 1)):
        assert not [edit for edit in edits.edits(narrow, RATE) if edit.kind == "width"]


def test_members_that_disagree_make_no_clear_change(noise: Tensor) -> None:
    rows, _ = tried(Hears(700.0, 1400.0), noise, Hears(700.0, 1400.0, sign=-0.3))
    assert not rows["1 kHz +3 dB"]["clear"]
    assert rows["1 kHz +3 dB"]["change"] > 0.0  # type: ignore[operator]
    assert rows["1 kHz +3 dB"]["spread"] > rows["1 kHz +3 dB"]["change"]  # type: ignore[operator]


@pytest.mark.parametrize("gain", [3.0, -3.0])
@pytest.mark.parametrize("frequency", [63.0, 1000.0, 8000.0])
def test_a_band_is_the_published_peaking_filter(gain: float, frequency: float) -> None:
    """Against torchaudio's, which follows the same cookbook."""
    impulse = torch.zeros(1, 8000)
    impulse[0, 0] = 0.5  # torchaudio clips at full scale
    edit = next(e for e in edits.edits(impulse, RATE) if e.name == f"{edits.named(frequency)} {gain:+g} dB")
    expected = torchaudio.functional.equalizer_biquad(impulse.double(), RATE, frequency, gain, 2.0**0.5)
    torch.testing.assert_close(edit.change(impulse, RATE).double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "length"), [("10 % faster", 1 / 1.1), ("5 % slower", 1 / 0.95), ("+1 semitone", 1.0)])
def test_tempo_changes_the_length_and_pitch_does_not(noise: Tensor, name: str, length: float) -> None:
    edit = next(e for e in edits.edits(noise, RATE) if e.name == name)
    assert edit.change(noise, RATE).shape[-1] == pytest.approx(noise.shape[-1] * length, rel=1e-3)


def test_low_rates_try_no_band_they_do_not_have(noise: Tensor) -> None:
    names = [edit.name for edit in edits.edits(noise, 16_000)]
    assert "4 kHz +3 dB" in names
    assert not {"8 kHz +3 dB", "high cut 8 kHz", "16 kHz -3 dB"} & set(names)


def test_bands_are_octaves() -> None:
    octaves = [
        summary.OCTAVES[n] for n in summary.octave_of(np.array([1.0, 63.0, 88.0, 90.0, 700.0, 1000.0, 1500.0, 20000.0]))
    ]
    assert octaves == [63, 63, 63, 125, 500, 1000, 2000, 16000]


def test_clear_is_above_the_floor_and_agreed_on() -> None:
    assert summary.told([0.2, 0.1], 0.1)["clear"]
    assert not summary.told([0.2, 0.1], 0.2)["clear"]
    assert not summary.told([0.5, -0.1], 0.1)["clear"]
    assert summary.told([0.2])["spread"] is None
    assert summary.told([0.1, 0.3])["spread"] == pytest.approx(0.2 / 2**0.5)


def test_colours_say_which_way(noise: Tensor) -> None:
    """Where it raises, red outweighs blue in the picture; elsewhere it is grey."""
    pixels = picture.colours(attribute(rater_of(Hears(700.0, 1400.0)), noise, RATE, "silence", 10.0)).astype(int)
    rows = np.repeat(((CENTRES >= 700.0) & (CENTRES <= 1400.0))[::-1], picture.ROWS_PER_BAND)
    red = (pixels[..., 0] - pixels[..., 2]).mean(axis=1)
    assert red[rows].mean() > 20.0
    far = np.repeat(((CENTRES < 300.0) | (CENTRES > 3000.0))[::-1], picture.ROWS_PER_BAND)
    assert np.abs(red[far]).max() == 0.0


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory, band: Callable[..., Tensor]) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    write_wav(folder / "a & b.wav", band(3.0, 22_050)[0], 22_050)
    assert main(["explain", f"input='{folder / 'a & b.wav'}'", f"out={folder / 'run'}", "rater=appeal/0", "top=2"]) == 0
    return folder / "run"


def test_the_command_leaves_a_run_folder(explained: Path) -> None:
    result = json.loads((explained / "result.json").read_text())
    assert result["command"] == "explain"
    assert result["attribution"]["completeness_error"] < 0.02
    assert len(result["moments"]["raising"]) <= 2
    assert result["noise_floor"] > 0.0
    assert {row["kind"] for row in result["counterfactuals"]} == {
        "band",
        "cut",
        "level",
        "width",
        "tempo",
        "pitch",
        "control",
    }
    values = np.load(explained / "attribution.npy", allow_pickle=False)
    assert values.sum() == pytest.approx(result["attribution"]["attributed"], abs=1e-4)
    assert (explained / "config.yaml").read_text().startswith("command: explain\n")
    page = (explained / "report.html").read_text(encoding="utf-8")
    assert "a &amp; b.wav" in page
    assert "a & b.wav" not in page


@needs_browser
def test_the_page_opens_and_moves_to_a_moment(explained: Path, tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    found = browser.after(
        explained / "report.html",
        """const song = document.getElementById('song'), button = document.querySelector('button[data-start]');
        button.click();
        const box = document.querySelector('figure image').getBBox();
        return {ready: document.documentElement.dataset.ready, seconds: song.duration, at: song.currentTime,
                asked: Number(button.dataset.start), width: box.width, height: box.height};""",
    )
    assert found["ready"] == "true"
    assert found["seconds"] == pytest.approx(3.0, abs=0.1)
    assert found["at"] == pytest.approx(found["asked"])
    assert found["width"] > 800  # type: ignore[operator]
    assert not browser.requested_hosts()


def test_a_rater_without_gradients_gets_changes_only(tmp_path: Path, band: Callable[..., Tensor]) -> None:
    """Ridge regression on features: no moments; the ends of the two ways still fit together."""
    random = np.random.default_rng(0)
    judge = mfcc.fit(random.standard_normal((12, len(NAMES))), random.standard_normal(12), "ridge")
    mfcc.save(tmp_path / "judge.safetensors", judge)
    write_wav(tmp_path / "song.wav", band(2.5, 16_000)[0], 16_000)
    words = [f"input={tmp_path / 'song.wav'}", f"rater={tmp_path / 'judge.safetensors'}", "counterfactuals=false"]
    assert main(["explain", *words, f"out={tmp_path / 'run'}"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["attribution"] is None
    assert result["moments"] is None
    assert result["rating"] == pytest.approx(sum(result["members"].values()))
    assert "has no gradient" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "give input=song.wav"),
        (["input=nowhere.wav"], "audio file not found: nowhere.wav"),
        (["input={short}"], "lasts 1.50 s"),
        (["input={song}", "rater=apeal"], "did you mean 'appeal'?"),
        (["input={song}", "baseline=silent"], "did you mean 'silence'?"),
        (["input={song}", "top=0"], "top=0 should be from 1 to 50"),
        (["input={song}", "ratr=appeal"], "did you mean 'rater'?"),
        (["input={song}", "out={taken}"], "already holds a run"),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, band: Callable[..., Tensor], capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    places = {name: tmp_path / name for name in ("song", "short", "taken")}
    for name, seconds in (("song", 2.5), ("short", 1.5)):
        write_wav(places[name], band(seconds, 16_000)[0], 16_000)
    places["taken"].mkdir()
    (places["taken"] / "config.yaml").write_text("command: render\n")
    assert main(["explain", f"out={tmp_path / 'run'}", *(word.format(**places) for word in words)]) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
