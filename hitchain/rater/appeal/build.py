"""Makes the appeal rater: `python -m hitchain.rater.appeal.build data=FOLDER out=FOLDER`.

Builds the corpus, the degraded examples and the three members, and writes their weights and members.json to
out/appeal. Needs fluidsynth, the SoundFont of Debian's fluid-soundfont-gm and the package music21. What was made is
kept in `out`, so an interrupted build goes on where it stopped. Takes about an hour on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hitchain.errors import UserError
from hitchain.files import write_json
from hitchain.rater import weights
from hitchain.rater.appeal import corpus
from hitchain.rater.appeal.evaluate import options
from hitchain.rater.appeal.examples import join, prepare
from hitchain.rater.appeal.fit import fit
from hitchain.rater.frontend import FrontEndSettings


@dataclass(frozen=True)
class Member:
    """One network of the shipped rater: what it is called, its architecture, and the recordings it learns from."""

    name: str
    architecture: str
    split: str
    steps: int


MEMBERS = (
    Member("0", "mel_cnn", "first", 3000),
    Member("1", "mel_tcn", "second", 3000),
    Member("heldout", "mel_gru", "heldout", 3000),
)
CHUNKS = 4
GROUPS_PER_CHUNK = 300


def build(
    data: Path,
    out: Path,
    seed: int = 0,
    chunks: int = CHUNKS,
    steps: int | None = None,
    names: Sequence[str] = tuple(member.name for member in MEMBERS),
) -> Path:
    """Make everything and return the folder of the weights.

    Args:
        data: the source material with its SOURCES.tsv.
        chunks: how many times `GROUPS_PER_CHUNK` crops to cut and degrade for each member.
        steps: batches to fit each member on; None takes the member's own.
        names: the members to make; the others' weights stay as they are.
    """
    recordings = corpus.prepare(data, out / "corpus", seed)
    for number, member in enumerate(MEMBERS):
        if member.name not in names:
            continue
        parts = [
            prepare(recordings, member.split, chunk, GROUPS_PER_CHUNK, out / "corpus", out / "examples", seed)
            for chunk in range(chunks)
        ]
        network = fit(member.architecture, join(parts), steps or member.steps, seed * 100 + number)
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
            arguments, data="", out="appeal", seed="0", chunks=str(CHUNKS), steps="", members="0,1,heldout", threads="2"
        )
        torch.set_num_threads(int(given["threads"]))
        steps = int(given["steps"]) if given["steps"] else None
        names = given["members"].split(",")
        folder = build(Path(given["data"]), Path(given["out"]), int(given["seed"]), int(given["chunks"]), steps, names)
        sys.stdout.write(f"weights in {folder}\n")
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
