"""Makes the pack of real recordings that ships: `python -m hitchain.rater.critic.build data=FOLDER [out=FILE]`.

The pack holds frames, not audio: six excerpts of four seconds of every finished recording whose licence lets it ship
(public domain, CC0, CC BY or "no credit needed"). They are listed in docs/CREDITS.md.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from hitchain.errors import UserError
from hitchain.rater.appeal.corpus import CLEAN_LICENCES, UNCLEAN_WORDS
from hitchain.rater.critic import real

RECORDINGS = {
    "music/beatgame/doomed.ogg": "Alexander Ehlers, Doomed",
    "music/beatgame/flags.ogg": "Alexander Ehlers, Flags",
    "music/beatgame/great_mission.ogg": "Alexander Ehlers, Great mission",
    "music/beatgame/spacetime.ogg": "Alexander Ehlers, Spacetime",
    "music/beatgame/twists.ogg": "Alexander Ehlers, Twists",
    "music/beatgame/waking_the_devil.ogg": "Alexander Ehlers, Waking the devil",
    "music/beatgame/warped.ogg": "Alexander Ehlers, Warped",
    "music/librosa/Karissa_Hobbs_-_Lets_Go_Fishin.hq.ogg": "Karissa Hobbs, Let's Go Fishin'",
    "music/librosa/Kevin_MacLeod_-_Vibe_Ace.hq.ogg": "Kevin MacLeod, Vibe Ace",
    "music/librosa/Kevin_MacLeod_-_P_I_Tchaikovsky_Dance_of_the_Sugar_Plum_Fairy.hq.ogg": (
        "Kevin MacLeod, P. I. Tchaikovsky: Dance of the Sugar Plum Fairy"
    ),
    "music/librosa/Hungarian_Dance_number_5_-_Allegro_in_F_sharp_minor_(string_orchestra).hq.ogg": (
        "US Army Strings, Brahms: Hungarian Dance no. 5"
    ),
    "music/librosa/sorohanro_-_solo-trumpet-06.hq.ogg": "Mihai Sorohan, solo-trumpet-06",
}
"""File -> who made it, and its title."""

HELD_OUT = (
    "popularity/fma_audio/000002.mp3",
    "popularity/fma_audio/000005.mp3",
    "popularity/fma_audio/000255.mp3",
    "popularity/fma_audio/000256.mp3",
    "popularity/fma_audio/000459.mp3",
    "popularity/fma_audio/000690.mp3",
    "music/beatgame/piloting_waves.ogg",
    "music/instruments/music.flac",
)
"""Finished recordings by artists of whom the pack has nothing, and whose licences keep them out of it: to test on."""


def build(data: Path, out: Path = real.PACK) -> real.Real:
    """Make the pack from the folder `data`, whose SOURCES.tsv gives each file's licence.

    Raises:
        UserError: a recording is missing, or its licence does not let it ship.
    """
    listed = _licences(data)
    for file in RECORDINGS:
        if not (data / file).is_file():
            raise UserError(f"source recording not found: {data / file}")
    made = real.from_files({title: data / file for file, title in RECORDINGS.items()}, str(data))
    about = [{"recording": title, "licence": listed[file]} for file, title in RECORDINGS.items()]
    real.write(out, made, about)
    return made


def _licences(data: Path) -> dict[str, str]:
    """The licence of every recording of the pack, each one that lets it ship."""
    table = data / "SOURCES.tsv"
    if not table.is_file():
        raise UserError(f"{table} not found: data=FOLDER must name a folder whose SOURCES.tsv gives each licence.")
    with table.open(encoding="utf-8", newline="") as handle:
        listed = {row["file"]: row["licence"] for row in csv.DictReader(handle, delimiter="\t")}
    for file in RECORDINGS:
        licence = listed.get(file, "not listed").lower()
        if any(word in licence for word in UNCLEAN_WORDS) or not any(word in licence for word in CLEAN_LICENCES):
            raise UserError(f"{file} has licence {licence!r}: it may not ship.")
    return {file: listed[file] for file in RECORDINGS}


def main(words: Sequence[str]) -> int:
    """`data=FOLDER out=FILE`."""
    values = dict(word.partition("=")[::2] for word in words)
    if "data" not in values or set(values) - {"data", "out"}:
        print("use: python -m hitchain.rater.critic.build data=FOLDER [out=FILE]", file=sys.stderr)
        return 2
    out = Path(values.get("out", real.PACK))
    try:
        made = build(Path(values["data"]), out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = out.stat().st_size / 1e6
    print(f"{out}: {len(made.names)} recordings, {len(made.of)} excerpts, {size:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
