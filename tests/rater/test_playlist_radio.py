"""Playlists: reading them, learning what follows what, placing songs by sound, and `hitchain radio`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

from hitchain.cli import main
from hitchain.errors import UserError
from hitchain.files import write_wav
from hitchain.rater.playlist import evaluate as evaluation
from hitchain.rater.playlist import fit as fitting
from hitchain.rater.playlist import model as models
from hitchain.rater.playlist import proof
from hitchain.rater.playlist.embedding import Embedding, Settings, learn
from hitchain.rater.playlist.playlists import Playlist, read
from hitchain.rater.playlist.tower import Tower, TowerSettings, middle, train

RATE = 16_000
RING = tuple("abcdefgh")


def ring(count: int, seed: int = 0) -> list[Playlist]:
    """Playlists that walk a ring of eight songs, now and then skipping one: order is all there is to learn."""
    random = np.random.default_rng(seed)
    playlists = []
    for number in range(count):
        place, songs = int(random.integers(8)), []
        for _ in range(6):
            songs.append(RING[place])
            place = (place + 1 + int(random.random() < 0.1)) % 8
        playlists.append(Playlist(tuple(songs), name=str(number), date=f"2020-01-01 {number:05}", group="ring"))
    return playlists


@pytest.fixture(scope="module")
def walked() -> Embedding:
    return learn(ring(200), Settings(window=1, dimensions=16))


def find_setlists() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "shared" / "data" / "playlists", parent.parent / "shared" / "data" / "playlists"):
            if folder.is_dir():
                return folder
    return None


# Reading


def test_a_table_is_put_in_order(tmp_path: Path) -> None:
    table = "song,date,playlist,position,mood\nsecond,2021-05-01,x,2,low\nonly,2020-05-01,y,1,\nfirst,2021-05-01,x,1,\n"
    (tmp_path / "lists.csv").write_text(table)
    assert read(tmp_path / "lists.csv") == [
        Playlist(("only",), "y", "2020-05-01"),
        Playlist(("first", "second"), "x", "2021-05-01"),
    ]


def test_json_lines_and_m3u(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('["one", "two"]\n\n{"songs": ["three"], "name": "n", "group": "g"}\n')
    (tmp_path / "b.m3u8").write_text("#EXTM3U\n#EXTINF:12,An Artist - A Title\nx/1.mp3\nC:\\music\\Other Song.flac\n")
    assert read(tmp_path) == [
        Playlist(("one", "two")),
        Playlist(("three",), name="n", group="g"),
        Playlist(("An Artist - A Title", "Other Song"), name="b"),
    ]


def test_setlists_of_two_archives(tmp_path: Path) -> None:
    numbered, written = tmp_path / "goose" / "collected", tmp_path / "um" / "collected"
    numbered.mkdir(parents=True)
    written.mkdir(parents=True)
    (numbered / "setlistdata.csv").write_text("show_id,song_id,position\n7,2,2\n7,1,1\n7,9,3\n")
    (numbered / "showdata.csv").write_text("show_id,show_date\n7,2019-02-03\n")
    (numbered / "songdata.csv").write_text("song_id,song\n1,One\n2,Two\n")
    (written / "setlistdata.csv").write_text("song,in_show_index,date,link\nB,2,02/01/2018,u\nA,1,02/01/2018,u\n")
    assert read(tmp_path) == [
        Playlist(("A", "B"), "u", "2018-02-01", "um"),
        Playlist(("One", "Two", "#9"), "7", "2019-02-03", "goose"),  # a song the archive gives no title for
    ]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "playlist,positon,song\nx,1,a\n", "did you mean 'positon'"),
        ("a.csv", "playlist,position,song\n", "no rows"),
        ("a.csv", "", "the file is empty"),
        ("a.csv", "playlist,position,song\nx,first,a\n", "row 2: column 'position' is 'first'"),
        ("a.csv", "playlist,position,song\nx,nan,a\n", "must be a number"),
        ("a.csv", "playlist,position,song\nx,1,\n", "row 2: column 'song' is empty"),
        ("a.jsonl", '["a"]\n[1]\n', "line 2 must be a list of song names"),
        ("a.jsonl", '["a"\n', "line 1 is not valid JSON"),
        ("a.jsonl", '{"song": ["a"]}\n', "did you mean 'songs'"),
        ("a.jsonl", "[]\n", "holds no playlist"),
        ("a.m3u", "#EXTM3U\n", "holds no playlist"),
        ("a.wav", "RIFF", "is not a playlist file"),
    ],
)
def test_bad_playlists_are_told(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=told) as error:
        read(tmp_path / name)
    assert name in str(error.value)


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl", "a.m3u"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x81" * 9)
        with pytest.raises(UserError, match="UTF-8"):
            read(tmp_path / name)
    with pytest.raises(UserError, match="not found"):
        read(tmp_path / "nothing.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no playlists"):
        read(tmp_path / "empty")


@pytest.mark.skipif(find_setlists() is None, reason="the shared setlists are not on this machine")
def test_real_setlists_are_read_whole() -> None:
    folder = find_setlists()
    assert folder is not None
    playlists = read(folder)
    counts = {group: sum(len(p.songs) for p in playlists if p.group == group) for group in ("phish", "goose", "um")}
    assert counts == {"phish": 38_703, "goose": 6_635, "um": 2_035}  # the archives' rows, by Python's csv
    assert [p.date for p in playlists] == sorted(p.date for p in playlists)


# The embedding


def test_what_follows_is_learnt_and_its_direction(walked: Embedding) -> None:
    for place, song in enumerate(RING):
        found = dict(walked.next([song], count=7))
        assert max(found, key=lambda name: found[name]) == RING[(place + 1) % 8]
        assert found[RING[(place + 1) % 8]] > 5 * found[RING[(place - 1) % 8]]


def test_probabilities_come_near_the_chain_they_were_drawn_from(walked: Embedding) -> None:
    # True: 0.9 for the next, 0.1 for the one after. Skip-gram with few dimensions is close, not exact.
    for place, song in enumerate(RING):
        found = np.exp(walked.log_likelihood(walked.before[[walked.index(song)]]))
        assert found.sum() == pytest.approx(1.0, abs=1e-5)
        assert found[(place + 1) % 8] == pytest.approx(0.9, abs=0.15)
        assert found[(place + 2) % 8] == pytest.approx(0.1, abs=0.15)


def test_log_likelihood_is_scipys_log_softmax(walked: Embedding) -> None:
    heard = walked.before[[1, 4]]
    scores = walked.after @ heard.mean(axis=0) + walked.exponent * np.log(walked.counts + 0.1)
    np.testing.assert_allclose(walked.log_likelihood(heard), scipy.special.log_softmax(scores), rtol=1e-5, atol=1e-5)


def test_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from hitchain.rater.playlist.embedding import learn; "
        "from hitchain.rater.playlist.playlists import Playlist; "
        "e = learn([Playlist(tuple('abcdefgh'[n % 5 :])) for n in range(20)]); "
        "print(hashlib.sha256(e.before.tobytes() + e.after.tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1
    assert not np.array_equal(learn(ring(20), Settings(seed=1)).before, learn(ring(20)).before)


def test_a_song_heard_once_or_only_last_or_alone() -> None:
    embedding = learn([Playlist(("a", "b", "z")), Playlist(("b", "a")), Playlist(("alone",))])
    assert embedding.songs == ("a", "b", "z")
    assert np.array_equal(embedding.before[2], np.zeros(32))  # nothing ever followed it
    assert {song for song, _ in embedding.next(["z"])} == {"a", "b"}
    assert all(math.isfinite(cosine) for _, cosine in embedding.nearest("z"))
    with pytest.raises(UserError, match="two songs"):
        learn([Playlist(("a",)), Playlist(("b",))])


def test_names_are_found_in_any_case_and_misspelt_ones_told() -> None:
    embedding = learn([Playlist(("Tweezer", "Piper", "1348"))])
    assert embedding.songs[embedding.index("tweezer")] == "Tweezer"
    with pytest.raises(UserError, match="did you mean 'Tweezer'"):
        embedding.index("Twezer")
    with pytest.raises(UserError, match="they hold 3 others"):
        embedding.index("?")


def test_gensim_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(UserError, match=r"hitchain\[playlists\]"):
        learn(ring(5))


# The evaluation


def test_recall_and_reciprocal_rank_are_sklearns() -> None:
    random = np.random.default_rng(0)
    songs = [f"s{number}" for number in range(30)]
    matrix = random.standard_normal((30, 30))
    first, second = random.integers(30, size=200), random.integers(1, 30, size=200)
    pairs = [(int(a), int((a + b) % 30)) for a, b in zip(first, second, strict=True)]
    reached = evaluation.measure(
        lambda heard: matrix[heard[-1]], songs, [Playlist((songs[a], songs[b])) for a, b in pairs]
    )
    scores = np.array([np.where(np.arange(30) == a, -1e9, matrix[a]) for a, _ in pairs])
    truth = np.array([b for _, b in pairs])
    assert reached.recall == pytest.approx(top_k_accuracy_score(truth, scores, k=10, labels=np.arange(30)))
    assert reached.reciprocal.mean() == pytest.approx(label_ranking_average_precision_score(np.eye(30)[truth], scores))


def test_unknown_and_repeated_songs_are_missed_and_equal_scores_share_a_rank() -> None:
    songs = [f"s{number}" for number in range(5)]
    played = [Playlist(("s0", "new")), Playlist(("s0", "s0")), Playlist(("s0", "s3"))]
    reached = evaluation.measure(lambda heard: np.zeros(5), songs, played)
    assert reached.asked.tolist() == [1.0, 1.0, 1.0]
    assert reached.hits.tolist() == [0.0, 0.0, 1.0]
    assert reached.reciprocal.tolist() == [0.0, 0.0, 1 / 2.5]  # one of four equals: the middle of ranks 1 to 4


@given(st.integers(0, 1000))
def test_the_interval_is_scipys_bootstrap(seed: int) -> None:
    values = np.random.default_rng(seed).random(60)
    found = evaluation.interval(values, np.ones(60), draws=4000)
    reference = scipy.stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert found == pytest.approx(tuple(reference.confidence_interval), abs=0.01)  # two draws of one distribution


def test_the_embedding_beats_popularity_where_order_is_all() -> None:
    many = [Playlist(tuple(f"{song}{turn}" for song in p.songs for turn in "xyz"), p.name, p.date) for p in ring(60)]
    result = evaluation.evaluate(many)[""]
    methods = result["methods"]
    assert methods["word2vec, ahead"]["recall"] > 0.9
    assert methods["popularity"]["recall"] < 0.7
    assert result["playlists"] == {"training": 48, "validation": 6, "test": 6}
    low, high = methods["word2vec, ahead"]["recall_interval"]
    assert low <= methods["word2vec, ahead"]["recall"] <= high
    assert "word2vec, ahead over" in evaluation.table({"": result})


def test_too_few_playlists_cannot_be_evaluated() -> None:
    with pytest.raises(UserError, match="20 playlists"):
        evaluation.evaluate(ring(19))


# The tower and the fit


def tone(pitch: float, seconds: float = 1.5, seed: int = 0) -> torch.Tensor:
    """A chord of a bright or a dark sound: (2, samples)."""
    time = torch.arange(round(seconds * RATE)) / RATE
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(time))).float()
    wave = sum(torch.sin(2 * math.pi * pitch * part * time) / part for part in (1, 2, 3)) + 0.1 * noise
    return torch.stack([wave, 0.8 * wave]) * 0.2


@pytest.fixture(scope="module")
def world() -> tuple[Embedding, Tower]:
    """Low songs follow low ones and high ones high ones; the tower has heard all but two of each."""
    random = np.random.default_rng(0)
    low, high = [f"low {n}" for n in range(12)], [f"high {n}" for n in range(12)]
    lists = [Playlist(tuple(random.permutation(low if number % 2 else high)[:8].tolist())) for number in range(120)]
    embedding = learn(lists, Settings(dimensions=8))
    recordings = {f"low {n}": (tone(110.0 + 8 * n, seed=n), RATE) for n in range(10)}
    recordings |= {f"high {n}": (tone(1500.0 + 90 * n, seed=n), RATE) for n in range(10)}
    return embedding, train(embedding, recordings, TowerSettings(epochs=15, batch_size=4))


def test_an_unheard_song_is_placed_among_its_like(world: tuple[Embedding, Tower]) -> None:
    embedding, tower = world
    for name, pitch in (("low", 180.0), ("high", 2400.0)):
        vector = tower(tone(pitch, seconds=3.0, seed=99).unsqueeze(0), RATE).numpy()
        listed = [song for song, _ in embedding.best(embedding.log_likelihood(vector), 8)]
        assert sum(song.startswith(name) for song in listed) >= 7


def test_the_tower_trains_to_the_same_weights(world: tuple[Embedding, Tower]) -> None:
    embedding, _ = world
    recordings = {f"low {n}": (tone(110.0 + 8 * n, seed=n), RATE) for n in range(8)}
    before = torch.random.get_rng_state()
    states = [train(embedding, recordings, TowerSettings(epochs=1)).state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_middle_minute_of_a_song_is_heard() -> None:
    audio = torch.arange(100 * 8000.0)[None]
    assert torch.equal(middle(audio, 8000), audio[:, 20 * 8000 : 80 * 8000])
    assert torch.equal(middle(audio[:, :8000], 8000), audio[:, :8000])


def test_a_tower_needs_recordings_of_songs(world: tuple[Embedding, Tower]) -> None:
    with pytest.raises(UserError, match="0 recordings bear the name"):
        train(world[0], {"nobody": (tone(100.0), RATE)})


@pytest.mark.parametrize("kind", ["among", "before"])
def test_the_fit_has_finite_gradients_that_raise_it(world: tuple[Embedding, Tower], kind: str) -> None:
    fit = fitting.PlaylistFit(world[1], world[0], ["high 1", "high 2"], kind).eval()
    audio = torch.stack([tone(150.0), tone(1800.0), torch.zeros(2, round(1.5 * RATE))]).requires_grad_()
    value = fit(audio, RATE)
    assert value.shape == (3,)
    assert value[1] > value[0]
    (gradient,) = torch.autograd.grad(value.sum(), audio)
    assert torch.isfinite(gradient).all()
    assert gradient[0].abs().max() > 0
    step = 1e-3 * gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-9)[:, None, None]
    assert fit(audio + step, RATE)[0] > value[0]
    torch.testing.assert_close(fit(audio[1:2], RATE), value[1:2], atol=1e-4, rtol=0)  # items do not touch each other


def test_the_fit_among_is_torchs_cosine(world: tuple[Embedding, Tower]) -> None:
    embedding, tower = world
    audio = tone(1700.0).unsqueeze(0)
    centre = torch.from_numpy(embedding.centred()[[embedding.index("high 1"), embedding.index("low 3")]]).mean(dim=0)
    place = tower(audio, RATE)[0] - torch.from_numpy(embedding.before.mean(axis=0))
    expected = torch.nn.functional.cosine_similarity(place, centre, dim=0)
    found = fitting.PlaylistFit(tower, embedding, ["high 1", "low 3"])(audio, RATE)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_fit_before_is_the_embeddings_likelihood(world: tuple[Embedding, Tower]) -> None:
    embedding, tower = world
    audio = tone(1700.0).unsqueeze(0)
    place = embedding.index("high 1")
    usual = scipy.special.log_softmax(embedding.exponent * np.log(embedding.counts + 0.1))[place]
    expected = embedding.log_likelihood(tower(audio, RATE).numpy())[place] - usual
    found = fitting.PlaylistFit(tower, embedding, ["high 1"], "before")(audio, RATE)
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_an_objective_climbs_the_fit(world: tuple[Embedding, Tower]) -> None:
    from hitchain.chain.objective import Objective

    fit = fitting.PlaylistFit(world[1], world[0], ["high 1"])
    audio = torch.stack([tone(150.0), tone(1800.0)])
    torch.testing.assert_close(Objective([fit]).rate(audio, RATE), fit(audio, RATE))


@pytest.mark.parametrize(
    ("playlist", "kind", "told"), [([], "among", "is empty"), (["lo 1"], "among", "low 1"), (["low 1"], "x", "'among'")]
)
def test_a_fit_to_nothing_is_refused(world: tuple[Embedding, Tower], playlist: list[str], kind: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        fitting.PlaylistFit(world[1], world[0], playlist, kind)


def test_audio_that_cannot_be_placed_is_told(world: tuple[Embedding, Tower]) -> None:
    for audio, rate in (
        (torch.zeros(1, 2, 100), RATE),
        (torch.zeros(1, 3, RATE), RATE),
        (torch.zeros(1, 2, 9000), 100),
    ):
        with pytest.raises(UserError):
            world[1](audio, rate)


def test_planted_playlists_follow_the_rule() -> None:
    world = proof.World(list("abcd"), [], np.array([[0.0], [0.05], [0.1], [1.0]]), np.zeros(4, dtype=bool))
    row = proof.follow(world.styles, 0, np.array([True, True, True, True]))
    weight = scipy.stats.norm.pdf([0.05, 0.1, 1.0], scale=proof.SPREAD)
    np.testing.assert_allclose(row, [0.0, *(weight / weight.sum())], atol=1e-12)
    planted = proof.plant(world, 5, np.array([True, True, True, False]), seed=0)
    assert all(sorted(playlist.songs) == ["a", "b", "c"] for playlist in planted)
    assert planted == proof.plant(world, 5, np.array([True, True, True, False]), seed=0)


@pytest.mark.slow
def test_the_tower_places_unseen_songs_far_above_chance() -> None:
    result = proof.prove(proof.synthesise(100, seed=1), seed=1, settings=TowerSettings(epochs=25))
    ways = result["ways"]
    assert ways["the tower"]["interval"][0] > 2 * result["chance"]
    assert ways["the tower"]["recall"] > ways["no sound (the songs' centre)"]["recall"] + 0.1
    assert ways["the hidden rule itself"]["recall"] >= max(row["recall"] for row in ways.values()) - 0.05


# The model file and the command


def test_a_model_comes_back_whole(world: tuple[Embedding, Tower], tmp_path: Path) -> None:
    models.save(tmp_path / "m.safetensors", models.Model(world[0], world[1], "source"))
    again = models.load(tmp_path / "m.safetensors")
    assert again.embedding.songs == world[0].songs
    assert again.source == "source"
    assert again.embedding.next(["low 1"]) == world[0].next(["low 1"])
    assert again.tower is not None
    audio = tone(300.0).unsqueeze(0)
    assert torch.equal(again.tower(audio, RATE), world[1](audio, RATE))
    fit = fitting.load(tmp_path / "m.safetensors", ["low 1"])
    assert torch.equal(fit(audio, RATE), fitting.PlaylistFit(world[1], world[0], ["low 1"])(audio, RATE))


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, object]], None]) -> None:
    from hitchain.rater.weights import HEADER_KEY, load_tensors

    tensors, header = load_file(str(path)), load_tensors(path)[1]
    change(tensors, header)
    save_file(tensors, str(path), metadata={HEADER_KEY: json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors, header: header.update(format="other"), "does not hold playlists"),
        (lambda tensors, header: header.update(version=9), "version 9"),
        (lambda tensors, header: header.update(songs=["a"] * 8), "names a song twice"),
        (lambda tensors, header: header.update(songs="abc"), "list of names"),
        (lambda tensors, header: header.update(songs=["a"]), "tensor before"),
        (lambda tensors, header: header.update(exponent="x"), "exponent"),
        (lambda tensors, header: tensors.pop("after"), "no tensor 'after'"),
        (lambda tensors, header: tensors["counts"].mul_(float("nan")), "NaN"),
        (lambda tensors, header: tensors.update({"tower.centre": torch.zeros(16)}), "tower does not fit"),
    ],
)
def test_a_tampered_model_is_refused(
    walked: Embedding,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor], dict[str, object]], None],
    told: str,
) -> None:
    path = tmp_path / "m.safetensors"
    models.save(path, models.Model(walked))
    rewrite(path, change)
    with pytest.raises(UserError, match=told):
        models.load(path)


def test_a_truncated_model_is_refused(walked: Embedding, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    models.save(path, models.Model(walked))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        models.load(path)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    file = tmp_path / "lists.jsonl"
    file.write_text("".join(json.dumps([*playlist.songs, "1348"]) + "\n" for playlist in ring(40)))
    return file


def test_radio_lists_what_follows(lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result.json"
    assert main(["radio", "seed=A", f"playlists={lists}", "count=3", f"json={out}"]) == 0
    result = json.loads(out.read_text())
    printed = capsys.readouterr().out.splitlines()
    assert result["seed"] == "a"
    assert len(result["next"]) == 3 == len(printed) - 1
    assert result["next"][0]["song"] == printed[1].split()[-1]
    assert main(["radio", "seed=1348", f"playlists={lists}"]) == 0  # a number is a song's name first


def test_radio_keeps_what_it_learnt(lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.safetensors"
    assert main(["radio", "seed=a", f"playlists={lists}", f"model={model}"]) == 0
    first, stamp = capsys.readouterr().out, model.stat().st_mtime_ns
    assert main(["radio", "seed=a", f"playlists={lists}", f"model={model}"]) == 0
    assert main(["radio", "seed=a", f"model={model}"]) == 0
    assert capsys.readouterr().out == first * 2
    assert model.stat().st_mtime_ns == stamp
    assert main(["radio", "seed=a", f"playlists={lists}", f"model={model}", "random_seed=1"]) == 2
    assert "learnt from other playlists or settings" in capsys.readouterr().err


def test_radio_places_a_sound_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, audio, model = tmp_path / "l.jsonl", tmp_path / "audio", tmp_path / "m.safetensors"
    file.write_text("".join(json.dumps(list(playlist.songs)) + "\n" for playlist in ring(20)))
    audio.mkdir()
    for place, song in enumerate(RING):
        write_wav(audio / f"{song.upper()}.wav", tone(100.0 * 1.5**place), RATE)
    words = ["radio", f"seed={audio / 'A.wav'}", f"playlists={file}", f"model={model}"]
    assert main(words) == 2
    assert "audio=FOLDER" in capsys.readouterr().err
    model.unlink(missing_ok=True)
    assert main([*words, f"audio={audio}", "count=2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["radio", f"seed={audio / 'B.wav'}", f"model={model}"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "seed=SONG"),
        (["seed=a"], "playlists=FILE_OR_FOLDER"),
        (["sed=a"], "did you mean 'seed'"),
        (["seed=a", "count=0"], "count=0"),
        (["seed=a", "random_seed=x"], "random_seed=x"),
        (["seed=a", "evaluate=maybe"], "true or false"),
        (["evaluate=true", "seed=a"], "no meaning"),
        (["evaluate=true"], "needs playlists"),
        (["seed=a", "group=rings"], "group=rings"),
        (["seed=zz"], "no song 'zz'"),
        (["seed=a", "audio=nowhere"], "not a folder"),
        (["seed=a", "playlists=nowhere"], "not found"),
    ],
)
def test_radio_tells_mistakes(lists: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    if told not in ("playlists=FILE_OR_FOLDER", "needs playlists", "not found"):
        words = [*words, f"playlists={lists}"]
    assert main(["radio", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_radio_evaluates(lists: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["radio", "evaluate=true", f"playlists={lists}"]) == 0
    assert "| word2vec, ahead |" in capsys.readouterr().out
