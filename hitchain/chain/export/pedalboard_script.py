"""A Python script that does with pedalboard (JUCE) what can be done with it, next to how near that comes.

A block is translated where pedalboard has the same processor, or, being linear, as an impulse response. What cannot be
translated (an amp, a limiter that listens to loudness) interrupts a line: the script then goes on from our audio after
it, which is written beside it. Every passage between two interruptions is rendered with pedalboard here and compared.
"""

from __future__ import annotations

import math
import pprint
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitchain.blocks.block import Block, LinearBlock
from hitchain.blocks.dsp.hosting import pedalboard
from hitchain.blocks.parameter import Settings
from hitchain.chain.export.impulse import decibels, impulse_of
from hitchain.chain.export.session import Passage, Session, file_name
from hitchain.errors import UserError
from hitchain.files import write_text, write_wav

WORST = -20.0
"""A processor whose error against ours is higher [dB] is no translation."""

_JUCE_LEVEL = 0.125  # to which juce::dsp::Convolution scales an impulse response: the root of its louder side's energy

Step = tuple[str, dict[str, Any]]
"""A pedalboard class and its arguments."""

SCRIPT = '''"""{title}

Written by hitchain export; run it with `python {name}` (needs: pip install pedalboard soundfile).
Every passage reads its input, goes through its plugins, and is written as NAME-pedalboard.wav.
`error` is the level of the difference from what hitchain itself rendered, measured when this was exported [dB].
Left out, because pedalboard has no such processor:
{left_out}
"""

from pathlib import Path

import pedalboard
import soundfile

HERE = Path(__file__).resolve().parent
PASSAGES = {passages}


def board(plugins):
    """The plugins of a passage. An impulse response is read from beside this script."""
    made = []
    for name, arguments in plugins:
        if "impulse_response_filename" in arguments:
            path = str(HERE / arguments["impulse_response_filename"])
            arguments = dict(arguments, impulse_response_filename=path)
        made.append(getattr(pedalboard, name)(**arguments))
    return pedalboard.Pedalboard(made)


def main():
    for passage in PASSAGES:
        audio, rate = soundfile.read(HERE / passage["input"], dtype="float32", always_2d=True)
        out = board(passage["plugins"])(audio.T, rate)
        soundfile.write(HERE / (passage["name"] + "-pedalboard.wav"), out.T, rate, subtype="FLOAT")
        print(passage["name"], passage["blocks"], "error", passage["error"], "dB")


if __name__ == "__main__":
    main()
'''


@dataclass
class _Line:
    """A passage being gathered: blocks one after the other, all of which are translated."""

    track: str
    before: Tensor
    after: Tensor
    blocks: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)


def write(session: Session, out: Path) -> dict[str, Any]:
    """The script and the audio it starts from. Returns what export.json tells."""
    package, rate = pedalboard(), session.song.sample_rate
    passages, left_out, said = [], [], []
    for number, item in enumerate(_lines(session, out, package)):
        if isinstance(item, str):
            left_out.append(item)
            continue
        name = f"{number:02d}-{file_name(item.track)}"
        write_wav(out / f"{name}-in.wav", _stereo(item.before), rate)
        error = _difference(package, item.steps, item.before, item.after, out, rate)
        row = {"name": name, "input": f"{name}-in.wav", "blocks": item.blocks, "plugins": item.steps}
        passages.append({**row, "error": round(error, 1), "errors": item.errors})
        said.append(f"passage  {name}: {', '.join(item.blocks)}; {error:.1f} dB")
    if not passages:
        raise UserError(f"{session.folder}: pedalboard has none of the processors of this run.")
    name = f"{file_name(session.song.name)}.py"
    shown = ", ".join(left_out) or "nothing"
    title = f"The song {session.song.name!r} with pedalboard, as far as that has the same processors."
    text = SCRIPT.format(
        title=_plain(title),
        name=name,
        left_out=textwrap.fill(_plain(shown), 110),
        passages=pprint.pformat(passages, width=110),
    )
    write_text(out / name, text)
    said.append(f"left out {shown}")
    return {"script": name, "passages": passages, "left_out": left_out, "said": said}


def _plain(text: str) -> str:
    """Text that may stand in a docstring: nothing in it can end one."""
    return text.replace("\\", "/").replace('"', "'")


def _lines(session: Session, out: Path, package: Any) -> Iterator[_Line | str]:
    """Passages of translated blocks, and the paths of the blocks that are not."""
    line: _Line | None = None
    for passage in session.passages():
        if line is not None and line.track != passage.track:
            yield line
            line = None
        steps = translate(passage, out, session.song.sample_rate)
        error = 0.0
        if steps is not None:
            error = _difference(package, steps, passage.before, passage.after, out, session.song.sample_rate)
        if steps is None or error > WORST:
            if line is not None:
                yield line
            line = None
            yield passage.path if steps is None else f"{passage.path} (its nearest is {error:.1f} dB off)"
            continue
        line = line or _Line(passage.track, passage.before, passage.after)
        line.after = passage.after
        line.blocks.append(passage.path)
        line.steps += steps
        line.errors[passage.path] = round(error, 1)
    if line is not None:
        yield line


def translate(passage: Passage, out: Path, rate: int) -> list[Step] | None:
    """The plugins that stand for a block; None where there are none."""
    if passage.block.name in TRANSLATIONS:
        return TRANSLATIONS[passage.block.name](passage.block, passage.settings)
    if not isinstance(passage.block, LinearBlock):
        return None
    settings = {key: value.double() if value.is_floating_point() else value for key, value in passage.settings.items()}
    kernel, early = impulse_of([(passage.path, passage.block, settings)])
    passage.block.float()
    if early:
        return None
    name = f"{file_name(passage.path)}.wav"
    write_wav(out / name, kernel.float(), rate)
    energy = float(kernel.square().sum(dim=-1).max())
    level = 20.0 * math.log10(max(math.sqrt(energy), 1e-9) / _JUCE_LEVEL)
    return [("Convolution", {"impulse_response_filename": name}), ("Gain", {"gain_db": level})]


def _gain(block: Block, settings: Settings) -> list[Step] | None:
    level = settings["level"]
    return [("Gain", {"gain_db": float(level[0])})] if level.ndim == 1 else None


def _equaliser(block: Block, settings: Settings) -> list[Step] | None:
    def band(kind: str, name: str) -> Step:
        values = {"cutoff_frequency_hz": f"{name}_frequency", "gain_db": f"{name}_gain", "q": f"{name}_q"}
        return kind, {key: float(settings[value][0]) for key, value in values.items() if value in settings}

    peaks = [band("PeakFilter", f"peak{number}") for number in range(1, 5)]
    return [band("LowShelfFilter", "low_shelf"), *peaks, band("HighShelfFilter", "high_shelf")]


def _compressor(block: Block, settings: Settings) -> list[Step] | None:
    value = {key: float(settings[key][0]) for key in ("threshold", "ratio", "attack", "release", "makeup", "mix")}
    if value["mix"] < 1.0:
        return None
    ballistics = {"attack_ms": value["attack"], "release_ms": value["release"]}
    compressor = {"threshold_db": value["threshold"], "ratio": value["ratio"], **ballistics}
    return [("Compressor", compressor), ("Gain", {"gain_db": value["makeup"]})]


def _plugin(block: Block, settings: Settings) -> list[Step] | None:
    from hitchain.blocks.dsp.hosting import BUILT_IN

    name = getattr(block, "plugin", "")
    if name not in BUILT_IN or bool((settings["wet"] < 1.0).any()):
        return None
    return [(name, {knob.name: float(settings[knob.name][0]) for knob in BUILT_IN[name]})]


TRANSLATIONS: dict[str, Callable[[Block, Settings], list[Step] | None]] = {
    "effects/gain": _gain,
    "effects/parametric_eq": _equaliser,
    "effects/compressor": _compressor,
    "effects/plugin": _plugin,
}


def _stereo(audio: Tensor) -> Tensor:
    """(1, channels, samples) -> (2, samples)."""
    return audio[0].expand(2, -1)


@torch.no_grad()
def _difference(package: Any, steps: Iterable[Step], before: Tensor, after: Tensor, out: Path, rate: int) -> float:
    """The level [dB] of what pedalboard makes of the audio before, against the audio after."""
    made = []
    for name, arguments in steps:
        given = dict(arguments)
        if "impulse_response_filename" in given:
            given["impulse_response_filename"] = str(out / given["impulse_response_filename"])
        made.append(getattr(package, name)(**given))
    output = package.Pedalboard(made)(_stereo(before).contiguous().float().numpy(), rate)
    expected = _stereo(after).numpy()
    return decibels(output - expected, expected)
