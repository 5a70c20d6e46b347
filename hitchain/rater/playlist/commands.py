"""`hitchain radio`: what goes well after a song."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.files import write_json
from hitchain.rater.playlist import model as models
from hitchain.rater.playlist import playlists as reading
from hitchain.rater.playlist.embedding import Settings, learn
from hitchain.rater.playlist.model import Model
from hitchain.rater.playlist.playlists import Playlist

KEYS = ("seed", "playlists", "group", "latest", "count", "model", "audio", "random_seed", "evaluate", "json")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")


def radio_words(words: Sequence[str]) -> None:
    """`hitchain radio key=value ...`: print what goes well after a song, or with evaluate=true how good that is."""
    config: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in KEYS:
            raise UserError(f"'{word}': radio has no key '{key}'; {nearest(key, KEYS)} A song is given as seed=SONG.")
        config[key] = value
    if _flag(config, "evaluate"):
        result: Any = _evaluate(config)
    else:
        result = radio(config)
        print(f"after {result['seed']}  ({result['songs']} songs)")
        for place, row in enumerate(result["next"], start=1):
            print(f"{place:4}  {100 * row['probability']:5.2f} %  {row['song']}")
    if config.get("json"):
        write_json(config["json"], result)


def radio(config: Mapping[str, str]) -> dict[str, Any]:
    """What goes well after a song.

    Args:
        config: `seed` (a song's name, or a sound file where the model has a tower), `playlists` (a file or folder),
            `model` (a file that keeps what was learnt; alone enough once it exists), `audio` (a folder of sound files
            named like songs: a tower is trained), `group` and `latest` (which playlists), `count`, `random_seed`.

    Returns:
        `seed` as the playlists spell it, `songs`, and `next`: rows of `song` and `probability` (of being the next).

    Raises:
        UserError: a key, a file or a song is wrong; the message names it.
    """
    seed = config.get("seed", "").strip()
    if not seed:
        raise UserError("radio needs a song to begin with: seed=SONG (the random seed is random_seed=0).")
    count = _whole(config, "count", 10, lowest=1)
    model = _model(config)
    embedding = model.embedding
    if seed not in embedding.songs and Path(seed).suffix.lower() in SOUNDS:
        name, found = seed, _placed(model, Path(seed), count)
    else:
        name = embedding.songs[embedding.index(seed)]
        found = embedding.next([name], count)
    rows = [{"song": song, "probability": probability} for song, probability in found]
    return {"seed": name, "songs": len(embedding.songs), "next": rows}


def _placed(model: Model, file: Path, count: int) -> list[tuple[str, float]]:
    """What goes well after a sound file, placed by its sound."""
    from hitchain.files import read_audio
    from hitchain.rater.playlist.tower import middle

    audio, rate = read_audio(file)
    if model.tower is None:
        raise UserError(
            f"seed={file} is a sound file, and these playlists were learnt without sound: give audio=FOLDER, sound "
            "files named like songs, to train a tower, and model=FILE to keep it."
        )
    vector = model.tower(middle(audio, rate).unsqueeze(0), rate).numpy()
    return model.embedding.best(model.embedding.log_likelihood(vector), count)


def _model(config: Mapping[str, str]) -> Model:
    """The model of the command: loaded where its file exists, else learnt, and kept where a file is named."""
    file = Path(config["model"]) if config.get("model") else None
    settings = Settings(seed=_whole(config, "random_seed", 0, lowest=0))
    if not config.get("playlists"):
        if file is None:
            raise UserError("radio needs playlists=FILE_OR_FOLDER to learn from, or model=FILE learnt before.")
        return models.load(file)
    playlists = _playlists(config)
    source = models.mark(playlists, settings)
    if file is not None and file.exists():
        kept = models.load(file)
        if kept.source != source:
            raise UserError(
                f"model={file} was learnt from other playlists or settings. Give it alone (without playlists=) to use "
                "it as it is, name another file, or delete it to learn it again."
            )
        if kept.tower is not None or not config.get("audio"):
            return kept
    model = Model(learn(playlists, settings), None, source)
    if config.get("audio"):
        model = _with_tower(model, Path(config["audio"]), settings.seed)
    if file is not None:
        models.save(file, model)
    return model


def _playlists(config: Mapping[str, str]) -> list[Playlist]:
    playlists = reading.read(config["playlists"])
    group = config.get("group", "")
    if group:
        known = {playlist.group for playlist in playlists if playlist.group}
        if group not in known:
            raise UserError(f"group={group}: no playlist belongs to it; {nearest(group, known)}")
        playlists = [playlist for playlist in playlists if playlist.group == group]
    return playlists[-_whole(config, "latest", 0, lowest=0) :]


def _with_tower(model: Model, folder: Path, seed: int) -> Model:
    from hitchain.progress import Progress
    from hitchain.rater.playlist.tower import TowerSettings, train

    if not folder.is_dir():
        raise UserError(f"audio={folder} is not a folder of sound files.")
    names = {song.casefold(): song for song in model.embedding.songs}
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SOUNDS)
    recordings = {names[file.stem.casefold()]: file for file in files if file.stem.casefold() in names}
    settings = TowerSettings(seed=seed)
    with Progress(settings.epochs, "training the tower") as progress:
        tower = train(model.embedding, recordings, settings, lambda epoch, loss: progress.update(epoch, loss=loss))
    return Model(model.embedding, tower, model.source)


def _evaluate(config: Mapping[str, str]) -> dict[str, Any]:
    from hitchain.rater.playlist.evaluate import evaluate, table

    for key in config:
        if key not in ("evaluate", "playlists", "group", "latest", "random_seed", "json"):
            raise UserError(f"{key}= has no meaning with evaluate=true.")
    if not config.get("playlists"):
        raise UserError("evaluate=true needs playlists=FILE_OR_FOLDER.")
    results = evaluate(_playlists(config), _whole(config, "random_seed", 0, lowest=0))
    print(table(results))
    return results


def _flag(config: Mapping[str, str], key: str) -> bool:
    value = config.get(key, "false").lower()
    if value not in ("true", "false"):
        raise UserError(f"{key}={config[key]} should be true or false.")
    return value == "true"


def _whole(config: Mapping[str, str], key: str, default: int, lowest: int) -> int:
    text = config.get(key, str(default))
    if not text.isdecimal() or int(text) < lowest:
        raise UserError(f"{key}={text} should be a whole number, {lowest} or more.")
    return int(text)
