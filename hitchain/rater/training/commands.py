"""What the command line calls: `hitchain train` and `hitchain ablate` on composed configurations."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.files import write_text

Say = Callable[[str], None]
Config = Mapping[str, Any]
SECTIONS = ("rater", "source", "prepared", "prepare", "ablate", "seed", "device", "out")
PREPARED = "prepared"
"""Where in the run's folder a source is prepared."""


def train(config: Config, say: Say = print) -> dict[str, Any]:
    """Train a popularity rater.

    Args:
        config: `rater` (the fields of `TrainSettings`, and `manifest`, short for a source of that kind), `out` (the
            run's folder), and either `prepared` (a folder) or `source` (see `hitchain.rater.sources`) with `prepare`
            (see `PrepareSettings`). All keys have defaults: conf/train.yaml.

    Returns:
        What the run's result.json holds; see `hitchain.rater.training.run.train`.

    Raises:
        UserError: a key is missing, unknown or has a wrong value, or the recordings cannot be used.
    """
    from hitchain.rater.training import distributed
    from hitchain.rater.training.run import train as run

    settings = _settings(config)
    with distributed.joined(settings.device):
        folder, quiet = _begin(config, "train", say)
        recordings, about = _recordings(config, folder, quiet)
        result = run(recordings, folder, settings, about)
    losses = f"validation loss {result['validation_loss']:.3f}, baseline {result['baseline_loss']:.3f}"
    quiet(f"rater    {folder}  ({losses})")
    if "coverage" in result:
        share = f"{result['coverage']:.0%} of {result['coverage_songs']} {result['coverage_on']} songs"
        quiet(f"interval +- {result['interval']:.2f} deviations, meant to hold {result['level']:.0%}, holds {share}")
    speed = f"{result['crops_per_second']:.1f} crops/s, {result['data_wait']:.0%} of the time waiting for them"
    quiet(f"speed    {speed}")
    return result


def ablate(config: Config, say: Say = print) -> list[Any]:
    """Train with and without each augmentation, or with each loss, and print the table. See `training.ablate`."""
    from hitchain.rater.training import distributed
    from hitchain.rater.training.ablate import ablate as run
    from hitchain.rater.training.ablate import shown

    settings = _settings(config)
    section = {"over": "augmentation", "seeds": 1, **(config.get("ablate") or {})}
    seeds = section["seeds"]
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= 100:
        raise UserError(f"ablate.seeds={seeds!r} should be a whole number from 1 to 100.")
    with distributed.joined(settings.device):
        folder, quiet = _begin(config, "ablate", say)
        recordings, _ = _recordings(config, folder, quiet)
        rows = run(recordings, folder, settings, str(section["over"]), seeds)
    quiet(shown(rows))
    quiet(f"table    {folder / 'ablation.csv'}")
    return rows


def _settings(config: Config) -> Any:
    from hitchain.rater.training.settings import TrainSettings

    for key in config:
        if key not in SECTIONS:
            raise UserError(f"unknown key {key!r} of a training; {nearest(str(key), SECTIONS)}")
    shared = {key: config[key] for key in ("seed", "device") if key in config}
    rater = config.get("rater") or {}
    if not isinstance(rater, Mapping):
        raise UserError(f"rater={rater!r} should be keys with values, like rater.epochs=100.")
    return TrainSettings.from_mapping({**shared, **{key: rater[key] for key in rater if key != "manifest"}})


def _begin(config: Config, command: str, say: Say) -> tuple[Path, Say]:
    """The run's folder, the same in every process, with its config.yaml; and who speaks: the first process."""
    import yaml

    from hitchain.rater.training import distributed

    if not config.get("out"):
        raise UserError("training needs a folder: give out=runs/rater.")
    folder = Path(str(distributed.gathered(config["out"])[0]))
    if distributed.rank() > 0:
        return folder, lambda text: None
    kept = folder / "config.yaml"
    if kept.is_file():
        _check_same_recordings(kept, config)
    else:
        _source(config)
        text = yaml.safe_dump({"command": command, **config, "out": str(folder)}, sort_keys=False, allow_unicode=True)
        write_text(kept, text)
    return folder, say


def _check_same_recordings(kept: Path, config: Config) -> None:
    """Another source would enter the prepared set of the run that is there, and change it."""
    import yaml

    try:
        earlier = yaml.safe_load(kept.read_text(encoding="utf-8"))
        same = _source(earlier) == _source(config) and earlier.get("prepared") == config.get("prepared")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise UserError(f"{kept} cannot be read ({error}); delete it, or choose another out=FOLDER.") from error
    if not same:
        raise UserError(f"{kept.parent} holds a run with other recordings; choose another out=FOLDER.")


def _source(config: Config) -> dict[str, Any] | None:
    """The section of the source, `rater.manifest` included; None where a prepared set is given."""
    manifest = (config.get("rater") or {}).get("manifest")
    section = dict(config.get("source") or {})
    if manifest:
        section = {"kind": "manifest", "path": str(manifest)}
    if config.get("prepared"):
        if section.get("path"):
            raise UserError("prepared=... and a source are given: leave one of them out.")
        return None
    if not section.get("path"):
        raise UserError(
            "training needs recordings: give rater.manifest=songs.csv, source=KIND source.path=..., or "
            "prepared=FOLDER (from hitchain prepare)."
        )
    return section


def _recordings(config: Config, folder: Path, say: Say) -> tuple[Any, dict[str, Any]]:
    """The prepared set, made first where a source is given; and what result.json says of it."""
    from hitchain.rater.shards import Prepared
    from hitchain.rater.training import distributed

    section = _source(config)
    if section is None:
        place = Path(str(config["prepared"]))
    else:
        place = folder / PREPARED
        if distributed.rank() == 0:
            _prepare(config, section, place, say)
        distributed.wait_for_all()
    about: dict[str, Any] = {"prepared": str(place), "skipped": _skipped(place)}
    if section is not None:
        about["source"] = str(section["path"])
    return Prepared(place), about


def _prepare(config: Config, section: Mapping[str, Any], place: Path, say: Say) -> None:
    from hitchain.rater.shards.preparation import prepare
    from hitchain.rater.shards.settings import PrepareSettings

    given = {"seed": config.get("seed", 0), **(config.get("prepare") or {})}
    prepare(section, place, PrepareSettings.from_mapping(given), say)


def _skipped(place: Path) -> list[dict[str, Any]]:
    """The rows that were skipped, with the reasons, as the preparation listed them."""
    path = place / "skipped.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return [{**row, "line": int(row["line"])} for row in csv.DictReader(handle)]
