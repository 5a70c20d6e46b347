"""A REAPER project: text that names tracks, items and files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hitchain.blocks.notes.tempo import TempoMap
from hitchain.chain.export.session import Clip, Session, file_name
from hitchain.files import replacing, write_text


def write(session: Session, out: Path) -> dict[str, Any]:
    """The project and its audio beside it. Returns what export.json tells."""
    lines = [
        '<REAPER_PROJECT 0.1 "7.0" 0',
        "  TIMELOCKMODE 0",  # what is placed stays at its time where the tempo changes
        f"  SAMPLERATE {session.song.sample_rate} 1 0",
        *_tempo(session.song.tempo_map),
    ]
    for number, clip in enumerate(session.clips()):
        lines += _track(clip, copy_audio(clip, number, out))
    name = f"{file_name(session.song.name)}.rpp"
    write_text(out / name, "\n".join([*lines, ">"]) + "\n")
    tempo = session.song.tempo_map.tempo
    said = [f"project  {name}: {len(session.clips())} tracks at {tempo:.2f} beats per minute"]
    return {"project": name, "tracks": [clip.name for clip in session.clips()], "said": said}


def copy_audio(clip: Clip, number: int, out: Path) -> Path:
    """A clip's sound file copied below `out`; its path from there."""
    path = Path("audio") / f"{number:02d}-{file_name(clip.name)}.wav"
    with replacing(out / path) as temporary:
        shutil.copyfile(clip.file, temporary)
    return path


def _tempo(tempo: TempoMap) -> list[str]:
    """The tempo, and an envelope of steps where it changes."""
    lines = [f"  TEMPO {tempo.tempo:.10g} 4 4"]
    if len(tempo.beats) > 1:
        points = [
            f"    PT {tempo.seconds(beat):.9f} {60.0 / length:.10g} 1"
            for beat, length in zip(tempo.beats, tempo.beat_lengths, strict=True)
        ]
        lines += ["  <TEMPOENVEX", "    ACT 1 -1", "    DEFSHAPE 1 -1 -1", *points, "  >"]
    return lines


def _track(clip: Clip, path: Path) -> list[str]:
    import soundfile

    seconds = soundfile.info(str(clip.file)).duration
    name = clip.name.replace('"', "'").replace("\n", " ")
    return [
        "  <TRACK",
        f'    NAME "{name}"',
        "    VOLPAN 1 0 -1 -1 1",
        f"    MUTESOLO {int(clip.muted)} 0 0",
        "    NCHAN 2",
        "    <ITEM",
        "      POSITION 0",
        f"      LENGTH {seconds:.9f}",
        "      LOOP 0",
        f'      NAME "{name}"',
        "      <SOURCE WAVE",
        f'        FILE "{path.as_posix()}"',
        "      >",
        "    >",
        "  >",
    ]
