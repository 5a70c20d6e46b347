"""Makes the appeal rater: `python -m hitchain.rater.appeal.build data=FOLDER out=FOLDER`.

Builds the corpus, the degraded examples and the members, and writes their weights and members.json to
out/appeal. Needs fluidsynth, the SoundFont of Debian's fluid-soundfont-gm and the package music21. What was made is
kept in `out`, so an interrupted build goes on where it stopped. Takes about a quarter of an hour on one idle core.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hitchain.errors import UserError, nearest
from hitchain.files import write_json
from hitchain.rater import weights
from hitchain.rater.appeal import corpus
from hitchain.rater.appeal.evaluate import options
from hitchain.rater.appeal.examples import join, prepare
from hitchain.rater.appeal.fit import fit
from hitchain.rater.frontend import FrontEndSettings


@dataclass(frozen=True)
class Member:
    """One network of the shipped rater: its name, architecture, the recordings it learns from and its own seed."""

    name: str
    architecture: str
    split: str
    seed: int


MEMBERS = (
    Member("0", "mel_cnn", "first", 0),
    Member("1", "mel_tcn", "second", 1),
    Member("2", "mel_cnn", "second", 3),
    Member("3", "mel_tcn", "first", 4),
    Member("heldout", "mel_gru", "heldout", 2),
)
NAMES = tuple(entry.name for entry in MEMBERS)
STEPS = 1800
CHUNKS = 2
GROUPS_PER_CHUNK = 300


def build(
    data: Path,
    out: Path,
    seed: int = 0,
    chunks: int = CHUNKS,
    steps: int = STEPS,
    names: Sequence[str] = NAMES,
) -> Path:
    """Make everything and return the folder of the weights.

    Args:
        data: the source material with its SOURCES.tsv.
        chunks: how many times `GROUPS_PER_CHUNK` crops to cut and degrade for each member.
        steps: batches to fit each member on.
        names: the members to make; the others' weights stay as they are.
    """
    recordings = corpus.prepare(data, out / "corpus", seed)
    for member in MEMBERS:
        if member.name not in names:
            continue
        parts = [
            prepare(recordings, member.split, chunk, GROUPS_PER_CHUNK, out / "corpus", out / "examples", seed)
            for chunk in range(chunks)
        ]
        network = fit(member.architecture, join(parts), steps, seed * 100 + member.seed)
        about = {
            "rater": f"appeal/{member.name}",
            "trained_on": "degraded recordings; see MODEL_CARD.md",
            "split": member.split,
        }
        weights.save(
            out / "appeal" / f"{member.name}.safetensors", network, member.architecture, {}, FrontEndSettings(), about
        )
    write_json(out / "appeal" / "members.json", {member.name: f"{member.name}.safetensors" for member in MEMBERS})
    return out / "appeal"


def main(arguments: list[str]) -> int:
    try:
        given = options(
            arguments,
            data="",
            out="appeal",
            seed="0",
            chunks=str(CHUNKS),
            steps=str(STEPS),
            members=",".join(NAMES),
            threads="2",
        )
        torch.set_num_threads(int(given["threads"]))
        chosen = given["members"].split(",")
        if unknown := set(chosen) - set(NAMES):
            raise UserError(f"no member {min(unknown)!r}; {nearest(min(unknown), NAMES)}")
        folder = build(
            Path(given["data"]),
            Path(given["out"]),
            int(given["seed"]),
            int(given["chunks"]),
            int(given["steps"]),
            chosen,
        )
        sys.stdout.write(f"weights in {folder}\n")
    except ValueError:
        sys.stderr.write("seed, chunks, steps and threads are whole numbers.\n")
        return 2
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
