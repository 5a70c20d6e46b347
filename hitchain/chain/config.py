"""Configs: Hydra composition, with errors that name the file, the key and the nearest right word.

A block's parameters are not repeated in its config, so `lead.amp.gain=12` sets a key that no file holds: plain
`key=value` overrides are handed to Hydra as `++key=value`, and what Hydra then lets through is checked here, against
the registry where a block stands and against the composed defaults everywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hitchain.blocks import registry
from hitchain.blocks.nesting import KEYS
from hitchain.errors import UserError, nearest

FOLDER = Path(__file__).resolve().parent.parent / "conf"
GROUP_OF_STAGE = {
    "notes": "notes",
    "instruments": "instrument",
    "effects": "effects",
    "amps": "amp",
    "cabs": "cab",
    "mics": "mic",
    "mastering": "mastering",
}
"""The config group in which the blocks of a registry stage are chosen."""
TRACK_GROUPS = ("notes", "instrument", "effects", "amp", "cab", "mic")
TRACK_KEYS = (*TRACK_GROUPS, "fader", "sends")
ROWS = ("effects", "mastering", "sends")
"""Stages that hold several blocks, by a name each."""
WITHOUT_GROUPS = ("train-instrument", "resynth", "explain", "dream")
"""Commands whose every key is a value: `instrument=trumpet` chooses no config of the group `instrument` there."""
VALUES_OF = {"evaluate": ("rater",)}
"""Keys that are values in one command, though elsewhere they choose in a group of that name."""
OPEN = ("objective.terms", "objective.pareto.options", "optimizer.rates")
"""Keys under which anything may stand, also where a config file has put something there."""
FROM_THE_SONG = ("tempo", "drums", "controllers")
"""Options that a block's constructor is given by the song, not by its config."""

Config = dict[str, Any]


def compose(command: str, overrides: Sequence[str] = ()) -> Config:
    """The checked config of a command ("render", "optimize", "train") as plain data.

    Raises:
        UserError: an unknown group, choice or key, a value of a wrong type, or a malformed override.
    """
    values = _values_named_like_groups(command, overrides)
    prepared = prepare(command, [item for item in overrides if item not in values])
    composed = {**_compose(command, prepared), **dict(values.values())}
    check(composed, _compose(command, [item for item in prepared if not _is_value(item)]))
    return composed


def prepare(command: str, overrides: Sequence[str]) -> list[str]:
    """Overrides as Hydra takes them: choices checked, values as `++key=value`, the one-track song where meant.

    Naming a stage without a track (`instrument=subtractive`, `notes.file=tune.mid`) means the one-track song.
    """
    if command in WITHOUT_GROUPS:
        return [_as_value(item) for item in overrides]
    register_plugins()
    names = [item.partition("=")[0] for item in overrides]
    chosen = [item.partition("=")[2] for item in overrides if item.startswith("song=")]
    prepared = list(overrides)
    if command in ("render", "optimize") and not chosen and any(_means_one_track(name) for name in names):
        prepared.insert(0, "song=solo")
        chosen = ["solo"]
    tracks = [track for song in (chosen or ["demo"])[-1].split(",") for track in tracks_of(song)]
    return [_prepare_one(item, tracks) for item in prepared]


def _values_named_like_groups(command: str, overrides: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """{override: (key, value)} of what Hydra would take for a choice in a group, and is a value here."""
    import yaml

    pairs = {item: item.partition("=") for item in overrides}
    groups = group_names() if command in WITHOUT_GROUPS else VALUES_OF.get(command, ())
    return {item: (name, yaml.safe_load(value)) for item, (name, _, value) in pairs.items() if name in groups}


def _as_value(item: str) -> str:
    name, equals, _ = item.partition("=")
    if not equals:
        raise UserError(f"'{item}' is not an override; write key=value, for example seed=1.")
    return item if name.startswith(("+", "hydra.")) else f"++{item}"


def _means_one_track(name: str) -> bool:
    return name in TRACK_GROUPS or (name.partition(".")[0] in TRACK_KEYS and "@" not in name)


def _prepare_one(item: str, tracks: Sequence[str]) -> str:
    name, equals, value = item.partition("=")
    if not equals and not item.startswith("~"):
        raise UserError(f"'{item}' is not an override; write key=value, for example seed=1.")
    if name.startswith(("+", "~", "hydra.", "hydra/")):
        return item
    group, at, track = name.partition("@")
    groups = group_names()
    if group not in groups:
        if at:
            raise UserError(f"unknown group '{group}' in '{item}'; {nearest(group, groups)}")
        return f"++{item}"
    if at and track not in tracks:
        raise UserError(f"'{item}': this song has no track '{track}'; {nearest(track, tracks)}")
    for choice in value.strip("[]").split(","):
        known = choices(group)
        if choice.strip() not in known:
            raise UserError(f"'{item}': {group} has no choice '{choice.strip()}'; {nearest(choice.strip(), known)}")
    return item


def _is_value(item: str) -> bool:
    """Whether an override sets a value rather than choosing in a group."""
    name = item.partition("=")[0]
    return name.startswith(("+", "~")) or name.partition("@")[0] not in group_names()


def group_names() -> list[str]:
    """The config groups."""
    return sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def choices(group: str) -> list[str]:
    """The choices of a group: the config files, and the blocks of other packages."""
    from hydra.core.config_store import ConfigStore

    stored = ConfigStore.instance().repo.get(group, {})
    files = {path.stem for path in (FOLDER / group).glob("*.yaml")}
    return sorted(files | {name.removesuffix(".yaml") for name in stored})


def tracks_of(song: str) -> list[str]:
    """The names of a song's tracks and buses, as its config gives them; none for a one-track song or an unknown one."""
    import yaml

    path = FOLDER / "song" / f"{song}.yaml"
    if not path.is_file():
        return []
    section = yaml.safe_load(path.read_text(encoding="utf-8"))["song"]
    return [*(section.get("tracks") or []), *(section.get("buses") or [])]


def register_plugins() -> None:
    """Make every registered block that has no config file a choice of its stage's group (blocks of other packages)."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name in registry.names():
        stage, _, short = name.partition("/")
        group = GROUP_OF_STAGE.get(stage)
        if group is None or registry.get(name).__module__.startswith("hitchain."):
            continue
        node = {group: {short: {"block": name}} if group in ROWS else {"block": name}}
        store.store(group=group, name=short, node=node, package="_global_", provider="hitchain.blocks")


def _compose(command: str, overrides: Sequence[str]) -> Config:
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    running = GlobalHydra.instance().hydra  # a multirun job is itself inside Hydra: give it back afterwards
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(FOLDER), version_base="1.3", job_name=command):
            composed = OmegaConf.to_container(hydra.compose(command, list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"config: {str(error).strip()}") from error
    finally:
        GlobalHydra.instance().hydra = running
    if not isinstance(composed, dict):
        raise UserError(f"config of '{command}' is not a mapping.")
    return {str(key): value for key, value in composed.items()}


def check(config: Config, defaults: Config) -> None:
    """Raise `UserError` where a key of `config` is neither in `defaults` nor a block's, or has another type there."""
    _check_mapping(config, defaults, "")


def _check_mapping(config: Mapping[str, Any], defaults: Mapping[str, Any], path: str) -> None:
    for key, value in config.items():
        where = f"{path}{key}"
        if _is_block(value) or _is_block(defaults.get(key)):
            _check_block(value, where)
        elif key in ROWS and isinstance(value, dict):
            for row, entry in value.items():
                if key == "sends" and isinstance(entry, dict):
                    entry.setdefault("block", "mixer/send")
                if entry is not None:
                    _check_block(entry, f"{where}.{row}")
        elif key not in defaults:
            raise UserError(f"unknown key '{where}'; {nearest(str(key), [str(name) for name in defaults])}")
        elif (defaults[key] == {} or where in OPEN) and isinstance(value, dict):
            continue  # open: whoever reads it checks it
        elif isinstance(defaults[key], dict) and isinstance(value, dict):
            _check_mapping(value, defaults[key], f"{where}.")
        else:
            _check_type(value, defaults[key], where)


def _is_block(value: Any) -> bool:
    return isinstance(value, dict) and "block" in value


def _check_type(value: Any, default: Any, where: str) -> None:
    """A default of null takes anything here: whoever reads the key checks it."""
    if default is None or value is None or type(value) is type(default):
        return
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return
    wanted = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a group of keys",
    }
    example = "" if isinstance(default, dict) else f", like {default!r}"
    raise UserError(f"{where}={value!r} should be {wanted.get(type(default), type(default).__name__)}{example}.")


def _check_block(value: Any, where: str) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("block"), str):
        raise UserError(f"{where}={value!r} should be a block: give {where}.block=STAGE/NAME.")
    if value["block"] == "none":
        return
    block = registry.get(value["block"])
    known = [parameter.name for parameter in block.parameters]
    known += [option for option in registry.options(value["block"]) if option not in FROM_THE_SONG]
    known += [key for key in KEYS if key != "sidechain" or block.takes_sidechain]
    for key, _ in knobs_and_options(value, where):
        if key not in known and not block.open_parameters:
            raise UserError(
                f"unknown key '{where}.{key}': block '{value['block']}' has no '{key}'; {nearest(key, known)}"
            )


def knobs_and_options(block: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """The keys of a block's config, but `block` and where its notes come from."""
    stage = where.rpartition(".")[2]
    for key, value in block.items():
        if key != "block" and not (stage == "notes" and key in ("file", "part")):
            yield str(key), value


def read(path: str | os.PathLike[str]) -> Config:
    """The config.yaml of a run folder. Raises `UserError` where it is missing or malformed."""
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read config {path}: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"config {path} is not a mapping of keys to values.")
    return data


def dump(config: Config) -> str:
    """A config as YAML, keys in their order."""
    import yaml

    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
