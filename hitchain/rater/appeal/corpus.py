"""The recordings that the appeal rater learns from: found, licence-checked, rendered and split.

A recording is a 32 kHz stereo WAV file. Rendered songs hold four versions one after another: as written, then with
faults of playing at strengths 0.3, 0.6 and 0.9, aligned in time. Every recording belongs to exactly one split:
"first" and "second" train the two climbed members, "heldout" the judges that are never climbed, "test" (songs) and
"instruments" (single instruments) none.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from hitchain.errors import UserError
from hitchain.files import read_json, replacing, write_json
from hitchain.rater.appeal import faults, tunes

RATE = 32_000
SPLITS = ("first", "second", "heldout", "test", "instruments")
TRAINING = SPLITS[:3]
UNHEARD = SPLITS[3:]
VERSION_STRENGTHS = (0.0, 0.3, 0.6, 0.9)
SONG_SECONDS = 24.0
RENDERED = (
    ("first", "song", 90),
    ("second", "song", 90),
    ("heldout", "song", 70),
    ("test", "song", 50),
    ("first", "song", 90),
    ("second", "song", 90),
    ("heldout", "song", 80),
    ("first", "solo", 40),
    ("second", "solo", 40),
    ("heldout", "solo", 40),
    ("instruments", "solo", 24),
)
"""What is rendered, in this order: split, kind ("song", a small band; "solo", one dry instrument of it), how many."""
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")

MUSIC = {
    "music/beatgame/warped.ogg": "first",
    "music/beatgame/doomed.ogg": "first",
    "music/librosa/Kevin_MacLeod_-_Vibe_Ace.hq.ogg": "first",
    "music/beatgame/waking_the_devil.ogg": "second",
    "music/beatgame/flags.ogg": "second",
    "music/librosa/Kevin_MacLeod_-_P_I_Tchaikovsky_Dance_of_the_Sugar_Plum_Fairy.hq.ogg": "second",
    "music/beatgame/twists.ogg": "heldout",
    "music/beatgame/spacetime.ogg": "heldout",
    "music/librosa/Hungarian_Dance_number_5_-_Allegro_in_F_sharp_minor_(string_orchestra).hq.ogg": "heldout",
    "music/beatgame/great_mission.ogg": "test",
    "music/librosa/Karissa_Hobbs_-_Lets_Go_Fishin.hq.ogg": "test",
    "music/librosa/sorohanro_-_solo-trumpet-06.hq.ogg": "test",
}
"""Finished mixes and the split each belongs to."""

CHECKS = (
    "popularity/fma_audio/000002.mp3",
    "popularity/fma_audio/000005.mp3",
    "popularity/fma_audio/000255.mp3",
    "popularity/fma_audio/000256.mp3",
    "popularity/fma_audio/000459.mp3",
    "popularity/fma_audio/000690.mp3",
    "music/beatgame/piloting_waves.ogg",
    "music/instruments/music.flac",
)
"""Finished mixes whose licences allow listening but not training: they are rated in the test and no more."""

STEMS = {
    "truth/slakh/slakh2100_flac_redux/train/Track00001": "first",
    "truth/slakh/slakh2100_flac_redux/omitted/Track00049": "second",
}
"""Multitrack songs, mixed here at many balances."""

DRY = "rig/dry_di"
"""Dry guitar and bass takes without a licence of their own: only rated in the test of instruments."""

CLEAN_LICENCES = ("public domain", "cc by 3.0", "cc by 4.0", "cc0", "no credit needed")
UNCLEAN_WORDS = ("-sa", "-nc", "-nd", "noncommercial", "sharealike", "gpl")
CLEAN_SOUND_LICENCES = ("/publicdomain/zero/1.0/", "/licenses/by/3.0/", "/licenses/by/4.0/")


@dataclass(frozen=True)
class Recording:
    """One WAV file of the corpus: its split, its kind, and whether it holds four versions."""

    name: str
    file: str
    split: str
    kind: str
    seconds: float
    versions: int = 1


def prepare(data: Path, out: Path, seed: int = 0, soundfont: Path = SOUNDFONT) -> list[Recording]:
    """Build the corpus in the folder `out`, or read it where it was built before.

    Args:
        data: the folder of source material, with its SOURCES.tsv.
        seed: chooses tunes, arrangements and balances.
        soundfont: a General MIDI SoundFont for fluidsynth.

    Raises:
        UserError: a source, fluidsynth, the SoundFont or music21 is missing, or a source's licence is not a clean one.
    """
    listing = out / "recordings.json"
    if listing.exists():
        return [Recording(**row) for row in read_json(listing, "corpus listing")]
    out.mkdir(parents=True, exist_ok=True)
    licences = _licences(data)
    recordings = [
        *_music(data, out, licences),
        *_dry_takes(data, out),
        *_stems(data, out, licences, seed),
        *_sounds(data, out),
        *_rendered(data, out, licences, seed, soundfont),
    ]
    write_json(listing, [asdict(recording) for recording in recordings])
    return recordings


def _licences(data: Path) -> dict[str, str]:
    path = data / "SOURCES.tsv"
    if not path.exists():
        raise UserError(
            f"{path} not found: data=FOLDER must name a folder whose SOURCES.tsv gives each file's licence."
        )
    with path.open(encoding="utf-8", newline="") as handle:
        return {row["file"]: row["licence"] for row in csv.DictReader(handle, delimiter="\t")}


def _check_licence(file: str, licences: dict[str, str]) -> None:
    licence = licences.get(file, "not listed").lower()
    if any(word in licence for word in UNCLEAN_WORDS) or not any(word in licence for word in CLEAN_LICENCES):
        raise UserError(
            f"{file} has licence {licence!r}; only public domain, CC0 and CC BY material may train what ships."
        )


def _read(path: Path) -> np.ndarray:
    """Audio as (2, samples) at the corpus rate."""
    if not path.exists():
        raise UserError(f"source recording not found: {path}")
    audio, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    audio = soxr.resample(audio[:, [0, -1]], rate, RATE) if rate != RATE else audio[:, [0, -1]]
    return np.ascontiguousarray(audio.T)


def _write(audio: np.ndarray, name: str, out: Path) -> str:
    peak = max(float(np.abs(audio).max()), 1e-6)
    soundfile.write(str(out / f"{name}.wav"), (audio * min(0.9 / peak, 8.0)).T, RATE, subtype="PCM_16")
    return f"{name}.wav"


def _music(data: Path, out: Path, licences: dict[str, str]) -> Iterator[Recording]:
    for file, split in [*MUSIC.items(), *((file, "test") for file in CHECKS if (data / file).exists())]:
        if split != "test":
            _check_licence(file, licences)
        audio = _read(data / file)
        name = "music-" + Path(file).stem.replace(" ", "_")
        yield Recording(name, _write(audio, name, out), split, "music", audio.shape[1] / RATE)


def _dry_takes(data: Path, out: Path) -> Iterator[Recording]:
    for path in sorted((data / DRY).glob("*.flac")):
        audio = _read(path)
        name = "dry-" + path.stem.replace(" ", "_")
        yield Recording(name, _write(audio, name, out), "instruments", "dry", audio.shape[1] / RATE)


def _stems(data: Path, out: Path, licences: dict[str, str], seed: int, mixes: int = 4) -> Iterator[Recording]:
    """The stems of multitrack songs, each alone, and mixed at several balances."""
    for folder, split in STEMS.items():
        files = sorted((data / folder / "stems").glob("*.flac"))
        if not files:
            raise UserError(f"no stems found in {data / folder / 'stems'}")
        for path in files:
            _check_licence(str(path.relative_to(data)), licences)
        stems = [_read(path) for path in files]
        for path, stem in zip(files, stems, strict=True):
            name = f"stem-{Path(folder).name}-{path.stem}"
            yield Recording(name, _write(stem, name, out), split, "stem", stem.shape[1] / RATE)
        for mix in range(mixes):
            random = np.random.default_rng([seed, 1, _number(folder), mix])
            total = np.zeros_like(stems[0])
            count = int(random.integers(3, len(stems) + 1))
            for index in random.choice(len(stems), size=count, replace=False):
                pan = random.uniform(-0.7, 0.7)
                gains = np.sqrt(np.array([[1.0 - pan], [1.0 + pan]])) * 10.0 ** (random.uniform(-5.0, 5.0) / 20.0)
                total += (stems[index] * gains).astype(np.float32)
            name = f"mix-{Path(folder).name}-{mix}"
            yield Recording(name, _write(total, name, out), split, "mix", total.shape[1] / RATE)


def _sounds(data: Path, out: Path, shortest: float = 3.0) -> Iterator[Recording]:
    """CC0 and CC BY sounds of three seconds and more, split by their uploader."""
    listing = data / "popularity" / "freesound_join.csv"
    if not listing.exists():
        raise UserError(f"source listing not found: {listing}")
    with listing.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        if not row["license"].endswith(CLEAN_SOUND_LICENCES):
            continue
        audio = _read(data / "popularity" / row["wav"])
        loud = np.abs(audio).max(0) > 0.02 * np.abs(audio).max()
        if loud.sum() == 0 or (np.flatnonzero(loud)[-1]) / RATE < shortest or loud.mean() < 0.3:
            continue
        split = TRAINING[_number(row["username"]) % 3]
        name = f"sound-{row['sound id']}"
        yield Recording(name, _write(audio, name, out), split, "sound", audio.shape[1] / RATE)


def _rendered(data: Path, out: Path, licences: dict[str, str], seed: int, soundfont: Path) -> Iterator[Recording]:
    """Tunes with human drum takes, played through the SoundFont. No tune and no take is in two splits."""
    if shutil.which("fluidsynth") is None or not soundfont.exists():
        raise UserError(f"rendering needs fluidsynth and {soundfont}: apt-get install fluidsynth fluid-soundfont-gm")
    random = np.random.default_rng([seed, 2])
    songs = _unique(tunes.read_tunes())
    takes = _drum_takes(data, licences)
    count = sum(wanted for _, _, wanted in RENDERED)
    if len(songs) < count or len(takes) < 8:
        raise UserError(f"{len(songs)} tunes and {len(takes)} drum takes found; {count} and 8 are needed.")
    songs = [songs[index] for index in random.permutation(len(songs))[:count]]
    takes = [takes[index] for index in random.permutation(len(takes))]
    number = 0
    for split, kind, wanted in RENDERED:
        own_takes = takes[min(SPLITS.index(split), 3) :: 4]
        for index in tqdm(range(wanted), desc=f"rendering for {split}", disable=None):
            take_path, tempo = own_takes[index % len(own_takes)]
            name = f"{kind}-{number:03d}"
            target = out / f"{name}.wav"
            if not target.exists():
                own = np.random.default_rng([seed, 3, number])
                _render(songs[number], take_path, tempo, target, own, soundfont, solo=kind == "solo")
            yield Recording(name, f"{name}.wav", split, kind, SONG_SECONDS, len(VERSION_STRENGTHS))
            number += 1


def _unique(songs: list[tunes.Tune]) -> list[tunes.Tune]:
    """Tunes of different titles: the books share some, and a tune may stand in one split only."""
    return list({song.title.lower(): song for song in songs}.values())


def _drum_takes(data: Path, licences: dict[str, str]) -> list[tuple[Path, float]]:
    """Human drum takes in 4/4 of 20 s and more: path and tempo."""
    with (data / "notes/groove/info.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    takes = []
    for row in rows:
        path = data / "notes/groove" / row["midi_filename"]
        if (
            row["time_signature"] == "4-4"
            and row["beat_type"] == "beat"
            and float(row["duration"]) > 20.0
            and path.exists()
        ):
            _check_licence(f"notes/groove/{row['midi_filename']}", licences)
            takes.append((path, float(row["bpm"])))
    return takes


def _render(
    tune: tunes.Tune,
    take: Path,
    tempo: float,
    target: Path,
    random: np.random.Generator,
    soundfont: Path,
    solo: bool = False,
) -> None:
    drums = tunes.read_drums(take) if tune.bar != 3.0 and random.random() < 0.85 else None
    beats_per_minute = tempo if drums is not None else random.uniform(70.0, 140.0)
    parts = tunes.arrange(tune, drums, beats_per_minute, SONG_SECONDS - 2.0, random)
    if solo:
        parts = [replace(tunes.alone(parts, random), reverb=0)]
    versions = [parts] + [tunes.degrade_notes(parts, strength, random) for strength in VERSION_STRENGTHS[1:]]
    midi, raw = target.with_suffix(".mid"), target.with_suffix(".raw.wav")
    tunes.write_midi(versions, SONG_SECONDS, midi)
    room = f"{random.uniform(0.1, 0.8):.2f}"
    command = [
        "fluidsynth", "-n", "-i", "-q", "-g", "0.4", "-r", str(RATE), "-O", "s16", "-T", "wav",
        "-o", f"synth.reverb.room-size={room}", "-o", "synth.chorus.active=0", "-F", str(raw),
        str(soundfont), str(midi),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not raw.exists():
        raise UserError(f"fluidsynth failed on {midi}: {done.stderr.strip()[-300:]}")
    _match_length(raw, target, len(versions) * SONG_SECONDS)
    raw.unlink()


def _match_length(raw: Path, path: Path, seconds: float) -> None:
    audio, _ = soundfile.read(str(raw), dtype="float32", always_2d=True)
    length = round(seconds * RATE)
    audio = np.pad(audio[:length], ((0, max(0, length - len(audio))), (0, 0)))
    peak = max(float(np.abs(audio).max()), 1e-6)
    with replacing(path) as temporary:
        soundfile.write(str(temporary), audio * (0.9 / peak), RATE, subtype="PCM_16", format="WAV")


def _number(text: str) -> int:
    """A stable number for a name."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def read_crop(recording: Recording, out: Path, start: float, seconds: float, version: int = 0) -> faults.Audio:
    """A crop (2, samples) of a recording, at the given version of a rendered song."""
    first = round((start + version * SONG_SECONDS) * RATE)
    audio, _ = soundfile.read(
        str(out / recording.file), frames=round(seconds * RATE), start=first, dtype="float32", always_2d=True
    )
    return np.ascontiguousarray(audio.T)
