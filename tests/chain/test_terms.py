"""Terms of the objective against meters, libraries and facts of music that were not made here."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import librosa
import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis
from torch import Tensor

from hitchain.chain import Knobs, Song, patch
from hitchain.chain import config as configs
from hitchain.chain.chain import Window
from hitchain.chain.objective import Heard, Term
from hitchain.chain.objective.config import make_term, objective_of
from hitchain.chain.objective.term import TERMS, find
from hitchain.chain.objective.terms import balance, embedding, harmony, prior, rhythm
from hitchain.errors import UserError
from hitchain.files import write_wav

RATE = 16_000
PLAIN = ("loudness", "true_peak", "dynamic_range", "spectral_balance", "consonance", "key", "rhythm")
"""Audible terms without options that they need."""


def heard(audio: Tensor, rate: int = RATE) -> Heard:
    place = torch.full((len(audio), 2), 0.5, dtype=audio.dtype)
    return Heard(audio, rate, place, place[:1])


def measure(name: str, audio: Tensor, rate: int = RATE, **options: object) -> Tensor:
    return find(name)(**options).measure(heard(audio, rate))


def tones(pitches: list[float], seconds: float = 2.0, partials: int = 6, rate: int = RATE) -> Tensor:
    """Harmonic tones together, at MIDI pitches: (1, 2, samples), float64."""
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    hertz = [440.0 * 2.0 ** ((pitch - 69.0) / 12.0) for pitch in pitches]
    wave = sum(0.88**k * torch.sin(2 * math.pi * f * (k + 1) * time) for f in hertz for k in range(partials))
    return (0.05 * torch.as_tensor(wave)).expand(1, 2, -1).clone()


def chords(sequence: list[list[float]], seconds: float = 0.6) -> Tensor:
    return torch.cat([tones(chord, seconds) for chord in sequence], dim=-1)


def noise(batch: int = 1, seconds: float = 2.0, seed: int = 0, rate: int = RATE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, round(seconds * rate), generator=generator, dtype=torch.float64) * 0.1


def shaped(slope: float, seconds: float = 8.0, rate: int = 44_100) -> Tensor:
    """Noise whose power per Hz falls by `slope` dB per octave."""
    spectrum = torch.fft.rfft(noise(1, seconds, 1, rate))
    hertz = torch.fft.rfftfreq(round(seconds * rate), 1 / rate).clamp_min(10.0)
    return torch.fft.irfft(spectrum * 10.0 ** (-slope / 20.0 * torch.log2(hertz / 1000.0)), n=round(seconds * rate))


def clicks(times: list[float], seconds: float = 4.0) -> Tensor:
    audio = torch.zeros(1, 2, round(seconds * RATE), dtype=torch.float64)
    burst = noise(1, 0.03, 5)[0] * torch.linspace(1.0, 0.0, round(0.03 * RATE), dtype=torch.float64)
    for time in times:
        first = round(time * RATE)
        room = min(burst.shape[-1], audio.shape[-1] - first)
        audio[0, :, first : first + room] += burst[:, :room]
    return audio


def music() -> Tensor:
    """Chords over clicks, two candidates."""
    one = chords([[60, 64, 67], [65, 69, 72], [67, 71, 74], [60, 64, 67]], 0.5)
    beat = clicks([0.25 * index for index in range(8)], 2.0)
    return torch.cat([one + beat, 0.5 * one + 2.0 * beat])


# Level -----------------------------------------------------------------------------------------------------------


def test_loudness_and_its_distance_to_the_peak_are_pyloudnorms_and_scipys() -> None:
    audio = music()
    for index, item in enumerate(audio):
        truth = pyloudnorm.Meter(RATE).integrated_loudness(item.T.numpy())
        peak = 20.0 * np.log10(np.abs(scipy.signal.resample_poly(item.numpy(), 8, 1, axis=-1)).max())
        assert float(measure("loudness", audio)[index]) == pytest.approx(truth, abs=0.05)
        assert float(measure("true_peak", audio)[index]) == pytest.approx(peak, abs=0.2)
        assert float(measure("dynamic_range", audio)[index]) == pytest.approx(peak - truth, abs=0.25)


def test_windows_of_a_quiet_passage_tell_the_loudness_of_the_song(demo: Song) -> None:
    """A song whose start swells: what a window says is corrected by how the start differs there."""
    term = find("loudness")()

    class Swelling:
        start, sample_rate, length = demo.start, RATE, 4.0
        whole = noise(1, 4.0) * torch.linspace(0.05, 1.0, 4 * RATE, dtype=torch.float64)

        def __call__(self, settings: object, window: Window) -> Tensor:
            first = round(window.start * RATE)
            return self.whole[..., first : first + round(window.length * RATE)]

    song = Swelling()
    truth = float(term.level(song.whole * 1.5, RATE)[0])  # type: ignore[attr-defined]
    for start in (0.0, 1.5, 3.0):
        window = Window(start, 1.0)
        candidate = 1.5 * song(None, window)
        place = torch.full((1, 2), 0.5)
        there = Heard(candidate, RATE, place, place, None, song, window)  # type: ignore[arg-type]
        assert float(term.measure(there)) == pytest.approx(truth, abs=0.01)


# Balance ---------------------------------------------------------------------------------------------------------


def test_third_octave_levels_are_those_of_welch() -> None:
    audio = shaped(4.0, 4.0)
    levels = balance.band_levels(audio, 44_100, 100.0, 8000.0)[0]
    hertz, density = scipy.signal.welch(audio[0].numpy(), 44_100, nperseg=16_384, scaling="density")
    density = density.sum(axis=0)
    for level, centre in zip(levels, balance.band_centres(100.0, 8000.0, 44_100), strict=True):
        inside = (hertz >= centre * 10**-0.05) & (hertz < centre * 10**0.05)
        truth = 10.0 * np.log10(density[inside].mean() * centre * (10**0.05 - 10**-0.05))
        assert float(level) == pytest.approx(truth, abs=0.6)


def test_pink_and_popular_are_what_they_are_said_to_be() -> None:
    """Pink noise falls 3 dB per octave per Hz; Pestana et al. found 5 for popular music."""
    found = {
        slope: [measure("spectral_balance", shaped(slope), 44_100, curve=curve) for curve in ("pink", "popular")]
        for slope in (0.0, 3.0103, 5.0)
    }
    assert float(found[3.0103][0]) < 0.3 < 5.0 < float(found[5.0][0])
    assert float(found[5.0][1]) < 0.3 < 1.5 < float(found[3.0103][1]) < float(found[0.0][1])


def test_the_balance_of_a_recording_is_its_own_curve(tmp_path: Path) -> None:
    one = shaped(6.0, 3.0).float()
    write_wav(tmp_path / "one.wav", one[0], 44_100)
    near, far = (measure("spectral_balance", audio.float(), 44_100, file=str(tmp_path / "one.wav")) for audio in
                 (0.2 * one, shaped(1.0, 3.0)))  # fmt: skip
    assert float(near) < 0.01 < 20.0 < float(far)


# Harmony ---------------------------------------------------------------------------------------------------------


def test_partials_are_found_where_they_are() -> None:
    frequencies, amplitudes = harmony.partials(tones([57.0], 2.0, 4), RATE)
    middle = frequencies.shape[1] // 2
    found = frequencies[0, middle][amplitudes[0, middle] > 0].sort().values
    assert found.tolist() == pytest.approx([220.0, 440.0, 660.0, 880.0], abs=0.3)
    ranked = amplitudes[0, middle][:4] / amplitudes[0, middle, 0]
    assert ranked.tolist() == pytest.approx([1.0, 0.88, 0.88**2, 0.88**3], rel=0.02)


def sethares(frequencies: list[float], amplitudes: list[float]) -> float:
    """The program of Sethares' own page (JASA 94, 1993), amplitudes as a product, over the sum of their squares."""
    total = 0.0
    for (f, a), (g, b) in itertools.combinations(sorted(zip(frequencies, amplitudes, strict=True)), 2):
        s = 0.24 / (0.0207 * f + 18.96)
        total += a * b * (5.0 * math.exp(-3.51 * s * (g - f)) - 5.0 * math.exp(-5.75 * s * (g - f)))
    return total / sum(a * a for a in amplitudes)


@pytest.mark.parametrize("interval", [3, 4, 6, 9, 10])
def test_consonance_is_that_of_sethares(interval: int) -> None:
    pitches = [76.0, 76.0 + interval + 0.31]  # off the scale: no two partials fall into one
    hertz = [440.0 * 2.0 ** ((pitch - 69.0) / 12.0) * (k + 1) for pitch in pitches for k in range(4)]
    truth = -sethares(hertz, [0.88**k for k in range(4)] * 2)
    assert float(measure("consonance", tones(pitches, partials=4))) == pytest.approx(truth, rel=0.05)


def test_consonance_ranks_intervals_and_chords_as_music_theory_does() -> None:
    names = {0: "unison", 12: "octave", 7: "fifth", 5: "fourth", 6: "tritone", 1: "minor second"}
    found = {name: float(measure("consonance", tones([60.0, 60.0 + steps]))) for steps, name in names.items()}
    assert found["octave"] > found["fifth"] > found["fourth"] > found["tritone"] > found["minor second"]
    triad, cluster = (float(measure("consonance", tones(chord))) for chord in ([60.0, 64.0, 67.0], [60.0, 61.0, 62.0]))
    assert triad > cluster


def test_clarity_of_key_is_that_of_librosas_chroma() -> None:
    audio = music()[:1]
    size = harmony._size(RATE)
    mono = audio[0].mean(dim=0).numpy()
    chroma = librosa.feature.chroma_stft(
        y=mono, sr=RATE, n_fft=size, hop_length=size // 2, tuning=0.0, norm=np.inf, pad_mode="reflect"
    ).mean(axis=1)
    profiles = [np.roll(profile, step) for profile in (harmony.MAJOR, harmony.MINOR) for step in range(12)]
    truth = max(np.corrcoef(chroma, profile)[0, 1] for profile in profiles)
    assert float(measure("key", audio)) == pytest.approx(truth, abs=2e-3)


def test_a_cadence_is_in_a_key_and_twelve_tones_are_not() -> None:
    cadence = chords([[60, 64, 67], [65, 69, 72], [67, 71, 74], [60, 64, 67]])
    everything = chords([[float(60 + (7 * step) % 12)] for step in range(12)], 0.3)
    assert float(measure("key", cadence)) > 0.8 > 0.5 > float(measure("key", everything))


# Rhythm ----------------------------------------------------------------------------------------------------------


def test_a_steady_click_track_is_more_regular_than_a_jittered_one() -> None:
    steady = [0.1 + 0.4 * index for index in range(10)]
    moves = np.random.default_rng(0).normal(0.0, 1.0, 10)
    found = [
        float(measure("rhythm", clicks([t + jitter * move for t, move in zip(steady, moves, strict=True)])))
        for jitter in (0.0, 0.02, 0.06)
    ]
    assert found[0] > 0.95
    assert found[0] > found[1] + 0.05 > found[2] + 0.1


def test_the_autocorrelation_is_numpys() -> None:
    values = torch.randn(2, 150, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = rhythm.autocorrelation(values, 12, 70)
    for row, own in zip(found, (values - values.mean(dim=-1, keepdim=True)).numpy(), strict=True):
        for lag, value in zip(range(12, 71), row, strict=True):
            head, tail = own[: 150 - lag], own[lag:]
            truth = (head * tail).sum() / np.sqrt((head**2).sum() * (tail**2).sum())
            assert float(value) == pytest.approx(truth, abs=1e-6)


def test_onsets_fall_where_librosa_finds_them() -> None:
    audio = clicks([0.5, 1.3, 2.9])
    strength = rhythm.onset_strength(audio, RATE)[0]
    peaks = scipy.signal.find_peaks(strength.numpy(), height=0.3 * float(strength.max()))[0] * 0.02
    truth = librosa.onset.onset_detect(y=audio[0, 0].numpy(), sr=RATE, hop_length=320, units="time")
    assert peaks.tolist() == pytest.approx(truth.tolist(), abs=0.06)


# Likeness --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_wav(folder / "chords.wav", music()[0].float(), RATE)
    write_wav(folder / "noise.wav", shaped(5.0, 3.0, RATE)[0].float(), RATE)
    return folder


def test_a_reference_is_nearest_to_itself(recordings: Path) -> None:
    from auraloss.freq import MultiResolutionSTFTLoss

    audio = music().float()
    file = str(recordings / "chords.wav")
    found = measure("reference", audio, file=file)
    assert float(found[0]) < 0.01 < float(found[1])
    only = measure("reference", audio, file=file, embedding=0.0)
    same, other = (item[None] * (0.1 / item.square().mean().sqrt()) for item in audio)
    assert float(only[1]) == pytest.approx(float(MultiResolutionSTFTLoss()(other, same)), rel=1e-3)
    longer = torch.cat([audio, audio], dim=-1)
    assert float(measure("reference", longer, file=file, embedding=0.0).abs().max()) == 0.0  # it ended before


def test_originality_is_the_distance_to_the_nearest(recordings: Path) -> None:
    audio = music().float()
    places = torch.cat([embedding.embed_file(path) for path in sorted(recordings.glob("*.wav"))])
    found = measure("originality", audio, folder=str(recordings))
    truth = np.linalg.norm(embedding.embed(audio, RATE)[:, None].numpy() - places[None].numpy(), axis=-1).min(axis=1)
    assert found.tolist() == pytest.approx((truth / places.shape[1] ** 0.5).tolist(), abs=1e-3)
    assert float(found[0]) < 0.05
    assert float(measure("originality", clicks([0.1, 0.3]).float(), folder=str(recordings))) > 1.0


def test_a_playlist_is_fitted_as_by_the_model(tmp_path: Path) -> None:
    from hitchain.rater.playlist import fit
    from hitchain.rater.playlist import model as models
    from hitchain.rater.playlist.embedding import Embedding
    from hitchain.rater.playlist.tower import Tower

    random = np.random.default_rng(0)
    vectors = [random.normal(size=(4, 8)).astype(np.float32) for _ in range(2)]
    known = Embedding(("a", "b", "c", "d"), *vectors, np.ones(4, dtype=np.float32), 0.75)
    torch.manual_seed(0)
    models.save(tmp_path / "m.safetensors", models.Model(known, Tower(8).eval(), "here"))
    audio = music().float()
    found = measure("playlist", audio, model=str(tmp_path / "m.safetensors"), songs=["a", "c"])
    assert torch.equal(found, fit.load(tmp_path / "m.safetensors", ["a", "c"])(audio, RATE))
    with pytest.raises(UserError, match="list"):
        measure("playlist", audio, model=str(tmp_path / "m.safetensors"), songs="a")


# The patch prior -------------------------------------------------------------------------------------------------


def placed(song: Song, patterns: list[str]) -> tuple[Knobs, Tensor]:
    knobs = Knobs(song, patterns)
    return knobs, knobs.positions(knobs.unbounded(song.start))


def test_the_prior_is_a_mahalanobis_distance(demo: Song) -> None:
    knobs, place = placed(demo, ["mastering.limiter.*"])
    block = demo.blocks()["mastering.limiter"]
    seen = [*prior.Prior()._observed(block), {key: v[0] for key, v in demo.start.settings["mastering.limiter"].items()}]
    mean, covariance = prior._gaussian(knobs.knobs, seen)
    asked = torch.rand(5, knobs.size, generator=torch.Generator().manual_seed(0))
    found = find("prior")().measure(Heard(torch.zeros(5, 2, 8), RATE, asked, place, knobs=knobs))
    inverse = np.linalg.inv(covariance.numpy())
    truth = [-(mahalanobis(row, mean.numpy(), inverse) ** 2) / knobs.size for row in asked.double().numpy()]
    assert found.tolist() == pytest.approx(truth, rel=1e-4)
    assert len(seen) == len(block.presets) + 1 >= 5


def test_few_presets_leave_a_broad_variance_about_the_default_and_many_take_their_own(demo: Song) -> None:
    knobs, _ = placed(demo, ["mastering.limiter.target"])
    default = float(knobs.knobs[0].parameter.to_unit(torch.tensor(-14.0)))  # type: ignore[union-attr]
    mean, covariance = prior._gaussian(knobs.knobs, [{}])
    assert float(mean) == pytest.approx(default)
    assert float(covariance) == pytest.approx(prior.BROAD**2 * 4 / 5)
    values = [{"target": torch.tensor(-9.0 + 0.1 * index)} for index in range(-20, 21)] * 50
    mean, covariance = prior._gaussian(knobs.knobs, values)
    places = [float(knobs.knobs[0].parameter.to_unit(entry["target"])) for entry in values]  # type: ignore[union-attr]
    assert float(mean) == pytest.approx(np.mean(places), abs=0.005)
    assert float(covariance) == pytest.approx(np.var(places), rel=0.1)


def test_known_good_patches_draw_the_prior_to_them(demo: Song, tmp_path: Path) -> None:
    knobs, place = placed(demo, ["mastering.limiter.target", "*.notes.*"])
    moved = knobs.apply(torch.full((1, knobs.size), 1.5), demo.start)
    for index in range(6):
        patch.save(tmp_path / f"{index}.json", moved, demo.blocks())
    there = Heard(torch.zeros(1, 2, 8), RATE, torch.sigmoid(torch.full((1, knobs.size), 1.5)), place, knobs=knobs)
    without = find("prior")().measure(there)
    known = find("prior")(patches=[str(tmp_path / f"{index}.json") for index in range(6)]).measure(there)
    assert float(known) > float(without)
    with pytest.raises(UserError, match="patch"):
        find("prior")(patches=[str(tmp_path / "none.json")])


# Realness --------------------------------------------------------------------------------------------------------


def test_a_critic_learns_alongside_and_goes_on_to_the_bit() -> None:
    def make() -> Term:
        return make_term("realness", {"weight": 0.1, "first_steps": 4, "steps": 1}, "here")[0]

    steps = [heard(noise(2, 1.5, seed).float()) for seed in range(4)]
    whole, first, second = make(), make(), make()
    assert float(whole.measure(steps[0])[0]) == pytest.approx(math.log(0.5), abs=1e-6)  # a guess
    for term in (whole, first):
        term.begin(steps[:1])
    whole.learn(steps[1]), first.learn(steps[1])
    second.restore({key: value.clone() for key, value in first.state().items()})
    for term in (whole, second):
        term.learn(steps[2])
    audio = steps[3].audio.clone().requires_grad_(True)
    one, other = (term.measure(heard(audio)) for term in (whole, second))
    assert torch.equal(one, other)
    assert bool((one < 0).all())
    assert float(torch.autograd.grad(one.sum(), audio)[0].abs().max()) > 0
    for key, value in whole.state().items():
        assert torch.equal(value, second.state()[key]), key


# All of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
def test_gradients_are_the_slope_and_finite_also_at_silence(name: str) -> None:
    term = find(name)()
    audio = music().requires_grad_(True)
    (gradient,) = torch.autograd.grad(term.measure(heard(audio)).sum(), audio)
    direction = gradient / gradient.norm()
    step = 1e-5 if name in ("true_peak", "dynamic_range") else 1e-4
    with torch.no_grad():
        up, down = (term.measure(heard(audio + sign * step * direction)).sum() for sign in (1, -1))
    assert float((up - down) / (2 * step)) == pytest.approx(float(gradient.norm()), rel=2e-2)
    for still in (torch.zeros(1, 2, RATE), torch.zeros(1, 2, RATE).index_fill(2, torch.tensor([RATE // 2]), 1.0)):
        still.requires_grad_(True)
        value = term.measure(heard(still))
        assert bool(torch.isfinite(value).all())
        assert bool(torch.isfinite(torch.autograd.grad(value.sum(), still)[0]).all())


@given(seed=st.integers(0, 1000), gain=st.floats(0.05, 4.0), name=st.sampled_from(PLAIN))
@settings(max_examples=25, deadline=None)
def test_candidates_are_apart_and_levels_do_not_count_but_where_they_should(seed: int, gain: float, name: str) -> None:
    audio = torch.cat([noise(1, 1.2, seed), tones([50.0 + seed % 30, 57.0], 1.2)])
    term = find(name)()
    both = term.measure(heard(audio))
    assert both.shape == (2,)
    for index in range(2):
        assert float(term.measure(heard(audio[index : index + 1]))) == pytest.approx(float(both[index]), rel=1e-6)
    turned = term.measure(heard(gain * audio))
    expected = both + 20.0 * math.log10(gain) if name in ("loudness", "true_peak") else both
    assert turned.tolist() == pytest.approx(expected.tolist(), abs=2e-2)


def test_every_term_says_what_it_is() -> None:
    find("neutral")
    for name, kind in TERMS.items():
        if kind.__module__.startswith("hitchain."):
            assert kind.__doc__, name
            assert kind.scale > 0, name
            assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "objective.md").read_text(), name


# From a config ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        ["objective.terms.loudness.at_least=-14"],
        ["objective.terms={rhythm: {weight: 0.1}}"],
        ["objective=loud", "objective.terms.rhythm.weight=0.1"],
        ["objective=streaming", "objective.terms.loudness.at_most=-12", "objective.terms.consonance={weight: 0.5}"],
        ["objective=robust"],
    ],
)
def test_terms_come_from_a_config(overrides: list[str]) -> None:
    config = configs.compose("optimize", overrides)
    objective = objective_of(config)
    named = {str(name) for name in config["objective"]["terms"]}
    assert named <= {*objective.terms, *objective.constraints}
    assert json.dumps(config["objective"])


@pytest.mark.parametrize("name", configs.choices("objective"))
def test_every_ready_made_objective_composes(name: str) -> None:
    config = configs.compose("optimize", [f"objective={name}"])
    for term in config["objective"]["terms"]:
        find(term)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("objective.terms.reference={weight: -1}", "reference.file is missing"),
        ("objective.terms.rhythm={weight: 1, longest: fast}", "rhythm.longest"),
        ("objective.terms.spectral_balance={weight: 1, curve: pnik}", "pink"),
        ("objective.terms.originality={weight: 1, folder: nowhere}", "nowhere"),
        ("objective.pareto.term=loudnes", "loudness"),
        ("objective.pareto={term: loudness, from: -20}", "pareto.to"),
        ("objective.pareto={term: loudness, from: -20, to: -20}", "between two levels"),
        ("objective.pareto={term: loudness, form: -20, to: -9}", "from"),
        ("objective.pareto=loudness", "should be"),
    ],
)
def test_mistakes_are_named(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        objective_of(configs.compose("optimize", [override, "optimizer.batch=4"]))
