"""The command line: `hitchain COMMAND [FILE ...] [key=value ...]`. Heavy imports wait for a command."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hitchain.errors import UserError, nearest

USAGE = """\
hitchain: climb a popularity rating through a production chain, from notes to master.

usage: hitchain COMMAND [key=value ...]

  optimize    climb a rating through the knobs of a song; renders the best
  render      every stem of a song, its mix and its master
  audit       is the gain of a climb real? judges never climbed say:  hitchain audit RUN_FOLDER
  compare     runs beside each other:  hitchain compare RUN_FOLDER RUN_FOLDER
  rate        rate sound files:  hitchain rate song.wav other.mp3
  evaluate    hold raters against recordings with plays and likes:  hitchain evaluate rater=FOLDER prepared=FOLDER
  explain     what in a recording raises or lowers its rating:  hitchain explain input=song.wav
  dream       climb a waveform itself, the counter-example:  hitchain dream input=song.wav
  prepare     decode a source of recordings once, for training:  hitchain prepare source.path=songs.csv out=prepared
  train       train a rater on your own songs:  hitchain train rater.manifest=songs.csv
  ablate      what each augmentation or loss does to training:  hitchain ablate prepared=FOLDER
  radio       what goes well after a song:  hitchain radio seed=SONG playlists=FOLDER
  download    fetch a public collection to train on:  hitchain download fma-small out=FOLDER
  meter       loudness, range, peaks, image and spectrum of sound files:  hitchain meter song.wav
  train-instrument  learn an instrument from recordings:  hitchain train-instrument audio=FOLDER
  resynth     play a recording on a learnt instrument:  hitchain resynth input=voice.wav instrument=trumpet
  blocks      list every block, or one with its parameters:  hitchain blocks effects/compressor
  train-proxy  learn a plugin's gradients:  hitchain train-proxy plugin=LadderFilter out=ladder.safetensors
  export      a run for other programs:  hitchain export RUN_FOLDER format=reaper
  produce     an agent learns to produce, note by note and knob by knob (hitchain[reinforce])
  experiment  the chain against the waveform:  hitchain experiment claim quick=true
  report      write report.html again:  hitchain report RUN_FOLDER

Settings are Hydra overrides:
  hitchain optimize instrument=subtractive amp=none mastering=loud     swap blocks of a one-track song
  hitchain optimize instrument@lead=subtractive effects@bass=none      ... of one track of the demo band
  hitchain render lead.amp.drive=30 notes.file=tune.mid                 set knobs and files
  hitchain optimize 'learn=[mastering.*,lead.amp.*]' optimizer.steps=100 optimizer.budget=10m
  hitchain optimize --multirun seed=1,2,3                              several runs, and a page that compares them
  hitchain optimize --multirun seed=1,2,3 hydra/launcher=ray           ... spread over a Ray cluster (RAY_ADDRESS)

Keys of every command: seed, out (the run folder), sample_rate, device, song.
`hitchain COMMAND --help` shows the config of a command; `hitchain --version` the version.
"""


class Command(NamedTuple):
    """A command: what runs it ("module:function"), and either its Hydra config or its own words.

    With `usage` None it has a config of its own name, and is given that composed and checked; else it is given what
    stands behind it on the command line, and `usage` is its help.
    """

    run: str
    usage: str | None = None


ON_RAY = "hydra/launcher=ray"

COMMANDS = {
    "optimize": Command("hitchain.chain.commands:optimize"),
    "render": Command("hitchain.chain.commands:render"),
    "prepare": Command("hitchain.rater.shards.command:prepare"),
    "produce": Command("hitchain.chain.reinforce.command:produce"),
    "train": Command("hitchain.rater.training.commands:train"),
    "ablate": Command("hitchain.rater.training.commands:ablate"),
    "evaluate": Command("hitchain.rater.evaluation.command:evaluate"),
    "explain": Command("hitchain.rater.explain.command:explain"),
    "dream": Command("hitchain.rater.dream.command:dream"),
    "train-instrument": Command("hitchain.chain.instruments:train_instrument"),
    "resynth": Command("hitchain.chain.instruments:resynth"),
    "audit": Command(
        "hitchain.chain.audit:audit_words",
        "hitchain audit RUN_FOLDER ... [sections=8] [judges=NAME,NAME] [device=cpu]",
    ),
    "compare": Command(
        "hitchain.chain.compare:compare_words", "hitchain compare RUN_FOLDER RUN_FOLDER ... [out=FILE.html]"
    ),
    "rate": Command(
        "hitchain.rater.commands:rate_words",
        "hitchain rate FILE ... [rater=NAME_OR_FOLDER] [heldout=false] [window_seconds=10] [device=cpu]",
    ),
    "download": Command(
        "hitchain.rater.download:download_words",
        "hitchain download fma-small|fma-medium|fma-large out=FOLDER [mirror=URL] [keep=true]",
    ),
    "blocks": Command("hitchain.blocks.document:show", "hitchain blocks [STAGE/NAME ...]"),
    "radio": Command(
        "hitchain.rater.playlist.commands:radio_words",
        "hitchain radio seed=SONG_OR_SOUND_FILE playlists=FILE_OR_FOLDER [group=NAME] [latest=N] [count=10] "
        "[model=FILE] [audio=FOLDER] [random_seed=0] [json=FILE]\n"
        "       hitchain radio evaluate=true playlists=FILE_OR_FOLDER [group=NAME] [random_seed=0] [json=FILE]",
    ),
    "meter": Command("hitchain.chain.meter:meter", "hitchain meter FILE ... [json=FILE]"),
    "train-proxy": Command(
        "hitchain.blocks.proxy:train_proxy",
        "hitchain train-proxy plugin=NAME_OR_PATH out=FILE [steps=400] [seed=0] [sample_rate=44100]",
    ),
    "export": Command(
        "hitchain.chain.export:export",
        "hitchain export RUN_FOLDER format=pedalboard|reaper|dawproject|sfz|nam-ir [track=NAME] [stages=last|all] "
        "[out=FOLDER]",
    ),
    "experiment": Command(
        "hitchain.chain.experiment.command:experiment",
        "hitchain experiment claim [quick=true] [recordings=FOLDER] [workers=2] [out=FOLDER] [key=value ...]",
    ),
    "report": Command("hitchain.chain.report:show", "hitchain report RUN_FOLDER"),
}


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
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        raise UserError(f"unknown command '{name}'; {nearest(name, COMMANDS)}")
    command = COMMANDS[name]
    if command.usage is None:
        return _composed(name, rest)
    if {"-h", "--help"} & set(rest):
        print(f"usage: {command.usage}")
        return 0
    _function(command)(rest)
    return 0


def _function(command: Command) -> Callable[..., object]:
    module, _, name = command.run.partition(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    return function


def _composed(command: str, words: list[str]) -> int:
    """A command whose settings are composed by Hydra."""
    from hitchain.chain import config as configs

    if "-h" in words or "--help" in words:
        print(configs.dump(configs.compose(command, [word for word in words if "=" in word])), end="")
        return 0
    if {"-m", "--multirun"} & set(words):
        return _multirun(command, [word for word in words if word not in ("-m", "--multirun")])
    return run_command(command, configs.compose(command, words))


def run_command(command: str, config: dict[str, object]) -> int:
    """Run a command with its composed config, in a run folder of its own where it names none."""
    if not config.get("out"):
        from hitchain.chain.run import default_folder

        config["out"] = str(default_folder(command))
    _function(COMMANDS[command])(config)
    return 0


def _multirun(command: str, words: list[str]) -> int:
    """Hydra's own multirun: sweeps, sweepers and launchers; each job in a numbered folder of `out`.

    `hydra/launcher=ray` spreads the jobs over a cluster (hitchain.on_ray). Climbs end in a page that compares them.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from hitchain.chain import config as configs
    from hitchain.chain.run import default_folder

    on_ray = ON_RAY in words
    jobs: list[dict[str, object]] = []
    folders: list[Path] = []
    prepared = configs.prepare(command, [word for word in words if word != ON_RAY])
    if not any(word.partition("=")[0] == "++out" for word in prepared):
        prepared.append(f"++out={default_folder(command)}")

    @hydra.main(config_path=str(configs.FOLDER), config_name=command, version_base="1.3")
    def job(composed: Any) -> None:
        settings = HydraConfig.get()
        config = configs.compose(command, [item.lstrip("+") for item in settings.overrides.task])
        folder = Path(OmegaConf.select(composed, "out")) / str(settings.job.num)
        config["out"] = str(folder)
        folders.append(folder)
        if on_ray:
            jobs.append(config)  # all are known before the first is sent
        else:
            run_command(command, config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, who tell them without a traceback
    before = sys.argv
    sys.argv = [f"hitchain {command}", "--multirun", *prepared]
    try:
        job()
    except HydraException as error:
        raise UserError(f"config: {str(error).strip()}") from error
    finally:
        sys.argv = before
    if on_ray:
        from hitchain.on_ray import run_jobs

        run_jobs(command, jobs)
    if command == "optimize" and len(folders) > 1:
        from hitchain.chain.compare import compare

        compare(folders, folders[0].parent / "compare.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
