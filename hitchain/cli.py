"""The command line: `hitchain COMMAND [FILE ...] [key=value ...]`. Heavy imports wait for a command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest

USAGE = """\
hitchain: climb a popularity rating through a production chain, from notes to master.

usage: hitchain COMMAND [key=value ...]

  optimize    climb a rating through the knobs of a song; renders the best
  render      every stem of a song, its mix and its master
  rate        rate sound files:  hitchain rate song.wav other.mp3
  train       train a rater on your own songs:  hitchain train rater.manifest=songs.csv
  blocks      list every block, or one with its parameters:  hitchain blocks effects/compressor
  report      write report.html again:  hitchain report RUN_FOLDER

Settings are Hydra overrides:
  hitchain optimize instrument=subtractive amp=none mastering=loud     swap blocks of a one-track song
  hitchain optimize instrument@lead=subtractive effects@bass=none      ... of one track of the demo band
  hitchain render lead.amp.drive=30 notes.file=tune.mid                 set knobs and files
  hitchain optimize 'learn=[mastering.*,lead.amp.*]' optimizer.steps=100 optimizer.budget=10m
  hitchain optimize --multirun seed=1,2,3                              several runs

Keys of every command: seed, out (the run folder), sample_rate, device, song.
`hitchain COMMAND --help` shows the config of a command; `hitchain --version` the version.
"""

HELP = {
    "rate": "hitchain rate FILE ... [rater=NAME_OR_FOLDER] [heldout=false] [window_seconds=10] [device=cpu]",
    "blocks": "hitchain blocks [STAGE/NAME ...]",
    "report": "hitchain report RUN_FOLDER",
}
"""What `hitchain COMMAND --help` prints for the commands that have no config."""

COMMANDS = ("optimize", "render", "rate", "train", "blocks", "report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0, 2 for the user's mistakes, 130 for an interrupt."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hitchain").setLevel(logging.INFO)
    try:
        return _dispatch(words)
    except UserError as error:
        print(f"hitchain: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"hitchain: {error}. What was finished is kept; choose another folder with out=FOLDER.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hitchain: interrupted", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        import hitchain

        print(f"hitchain {hitchain.__version__}")
        return 0
    command, rest = words[0], words[1:]
    handlers: dict[str, Callable[[list[str]], int]] = {
        "optimize": lambda rest: _composed("optimize", rest),
        "render": lambda rest: _composed("render", rest),
        "train": lambda rest: _composed("train", rest),
        "rate": _rate,
        "blocks": _blocks,
        "report": _report,
    }
    if command not in handlers:
        raise UserError(f"unknown command '{command}'; {nearest(command, COMMANDS)}")
    if command in HELP and {"-h", "--help"} & set(rest):
        print(f"usage: {HELP[command]}")
        return 0
    return handlers[command](rest)


def _composed(command: str, words: list[str]) -> int:
    """A command whose settings are composed by Hydra."""
    from hitchain.chain import config as configs

    if "-h" in words or "--help" in words:
        print(configs.dump(configs.compose(command, [word for word in words if "=" in word])), end="")
        return 0
    if {"-m", "--multirun"} & set(words):
        return _multirun(command, [word for word in words if word not in ("-m", "--multirun")])
    config = configs.compose(command, words)
    return _run(command, config)


def _run(command: str, config: dict[str, object]) -> int:
    if not config.get("out"):
        from hitchain.chain.run import default_folder

        config["out"] = str(default_folder(command))
    if command == "train":
        from hitchain.chain import config as configs
        from hitchain.files import write_text
        from hitchain.rater.commands import train

        result = train({"rater": config["rater"], "out": config["out"]})
        write_text(Path(str(config["out"])) / "config.yaml", configs.dump({"command": command, **config}))
        losses = f"validation loss {result['validation_loss']:.3f}, baseline {result['baseline_loss']:.3f}"
        print(f"rater    {config['out']}  ({losses})")
        return 0
    from hitchain.chain import commands

    {"optimize": commands.optimize, "render": commands.render}[command](config)
    return 0


def _multirun(command: str, words: list[str]) -> int:
    """Hydra's own multirun: sweeps, sweepers and launchers; each job in a numbered folder of `out`."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from hitchain.chain import config as configs
    from hitchain.chain.run import default_folder

    prepared = configs.prepare(command, words)
    if not any(word.partition("=")[0] == "++out" for word in prepared):
        prepared.append(f"++out={default_folder(command)}")

    @hydra.main(config_path=str(configs.FOLDER), config_name=command, version_base="1.3")
    def job(composed: Any) -> None:
        settings = HydraConfig.get()
        config = configs.compose(command, [item.lstrip("+") for item in settings.overrides.task])
        config["out"] = str(Path(OmegaConf.select(composed, "out")) / str(settings.job.num))
        _run(command, config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, who tell them without a traceback
    before = sys.argv
    sys.argv = [f"hitchain {command}", "--multirun", *prepared]
    try:
        job()
    except HydraException as error:
        raise UserError(f"config: {str(error).strip()}") from error
    finally:
        sys.argv = before
    return 0


def _rate(words: list[str]) -> int:
    """Rate sound files."""
    import yaml

    from hitchain.rater.commands import rate

    files = [word for word in words if "=" not in word or Path(word).exists()]
    pairs = (word.split("=", 1) for word in words if word not in files)
    for row in rate(files, {key: yaml.safe_load(value) for key, value in pairs}):
        others = {**row["members"], "held out": row["heldout"]} if "heldout" in row else row["members"]
        if "popularity" in row:
            others["popularity"] = row["popularity"]
        told = "  ".join(f"{name} {value:.3f}" for name, value in others.items())
        print(f"{row['rating']:.3f}  {row['path']}  ({told})")
    return 0


def _blocks(words: list[str]) -> int:
    """List blocks."""
    from hitchain.blocks import document

    print("\n".join(document.describe(word) for word in words) if words else document.table())
    return 0


def _report(words: list[str]) -> int:
    """Write the report of a finished run again."""
    from hitchain.chain.report import write_report

    if len(words) != 1:
        raise UserError("give one run folder: hitchain report RUN_FOLDER")
    if not (Path(words[0]) / "result.json").is_file():
        raise UserError(f"{words[0]} is not the folder of a finished run: it has no result.json.")
    print(write_report(Path(words[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
