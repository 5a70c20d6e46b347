"""Fit a circuit amplifier to a capture of a real one, by gradient, and say how far they are apart before and after.

    python tools/fit_amp.py amps/british_class_a capture.nam dry_guitar.wav [more.wav ...] [--steps 150] [--cab]

The amplifier's knobs, an input level, a parametric EQ behind it (a capture holds its rig's colour, too) and an output
level are turned by Adam on the multi-resolution STFT distance (auraloss) plus the error-to-signal ratio, over the first
files' beginnings; both errors are measured on a later stretch that the fit has not seen, in equal loudness before and
after: the output level is set by least squares in both cases.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import hitchain  # isort: skip  # noqa: F401
import auraloss
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.block import Block
from hitchain.blocks.parameter import Choice
from hitchain.files import read_audio

RATE = 48_000
PIECE, HELD = 2.0, 4.0
"""Seconds of each file that the fit hears, and where the unheard stretch, as long, begins."""

Knobs = dict[str, Tensor]


class Rig:
    """An amplifier and an equaliser behind it, with free knobs in unit positions."""

    def __init__(self, name: str, cab: bool) -> None:
        row = {"amp": name, **({"cab": "cabs/speaker"} if cab else {}), "eq": "effects/parametric_eq"}
        self.blocks: dict[str, Block] = {key: blocks.create(block, sample_rate=RATE) for key, block in row.items()}
        self.knobs: Knobs = {"input": torch.zeros(1)}
        for key, block in self.blocks.items():
            for parameter in block.parameters:
                if parameter.name == "level":
                    continue
                if isinstance(parameter, Choice):
                    weights = parameter.weights(parameter.default).clamp(0.05, 0.9)
                    self.knobs[f"{key}.{parameter.name}"] = torch.log(weights)[None]
                else:
                    at = parameter.to_unit(torch.tensor([parameter.default])).clamp(0.02, 0.98)
                    self.knobs[f"{key}.{parameter.name}"] = torch.logit(at)
        for knob in self.knobs.values():
            knob.requires_grad_()

    def settings(self, key: str, batch: int) -> Knobs:
        block = self.blocks[key]
        settings = block.defaults(batch)
        for parameter in block.parameters:
            z = self.knobs.get(f"{key}.{parameter.name}")
            if z is None:
                continue
            value = torch.softmax(z, -1) if isinstance(parameter, Choice) else parameter.from_unit(torch.sigmoid(z))
            settings[parameter.name] = value.expand(batch, *value.shape[1:])
        return settings

    def __call__(self, audio: Tensor) -> Tensor:
        signal = audio * 10.0 ** (24.0 * torch.tanh(self.knobs["input"]) / 20.0)
        for key, block in self.blocks.items():
            signal = block(signal, self.settings(key, len(audio)))
        return signal

    def shown(self) -> str:
        parts = [f"input {24.0 * math.tanh(float(self.knobs['input'].detach())):+.1f} dB"]
        for parameter in self.blocks["amp"].parameters:
            if f"amp.{parameter.name}" in self.knobs:
                value = self.settings("amp", 1)[parameter.name][0].detach()
                text = parameter.show(value.tolist() if isinstance(parameter, Choice) else float(value))  # type: ignore[arg-type]
                parts.append(f"{parameter.name} {text}")
        return ", ".join(parts)


def aligned(heard: Tensor, wanted: Tensor) -> Tensor:
    """At the delay, of up to 2 ms, the level and the polarity at which it is closest."""
    reach, size = RATE // 500, 2 * heard.shape[-1]
    spectra = [torch.fft.rfft(audio.detach(), n=size) for audio in (wanted, heard)]
    correlation = torch.fft.irfft(spectra[0] * spectra[1].conj(), n=size).sum(dim=(0, 1))
    near = torch.cat([correlation[-reach:], correlation[: reach + 1]]).abs()
    heard = torch.roll(heard, int(near.argmax()) - reach, dims=-1)
    return heard * ((heard * wanted).sum() / heard.square().sum().clamp_min(1e-9))


def ratio(heard: Tensor, wanted: Tensor) -> Tensor:
    return (heard - wanted).square().sum() / wanted.square().sum()


def measured(rig: Rig, dry: Tensor, wet: Tensor, distance: torch.nn.Module) -> tuple[float, float]:
    with torch.no_grad():
        heard = aligned(rig(dry), wet)
        return float(distance(heard, wet)), float(ratio(heard, wet))


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("amplifier")
    parser.add_argument("capture")
    parser.add_argument("dry", nargs="+")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--cab", action="store_true", help="a loudspeaker behind the amplifier, for captures with one")
    given = parser.parse_args()
    begin = time.monotonic()
    tracks = [read_audio(path, RATE)[0][:1] for path in given.dry]
    heard, held = (
        torch.stack([track[:, round(at * RATE) : round((at + PIECE) * RATE)] for track in tracks]) for at in (1.0, HELD)
    )
    capture = blocks.create("amps/capture", sample_rate=RATE, file=given.capture)
    with torch.no_grad():
        wanted, unheard = (capture(audio, capture.defaults(len(audio))) for audio in (heard, held))
    distance = auraloss.freq.MultiResolutionSTFTLoss(sample_rate=RATE)
    rig = Rig(given.amplifier, given.cab)
    before = measured(rig, held, unheard, distance)
    optimizer = torch.optim.Adam(list(rig.knobs.values()), lr=0.06)
    for step in range(given.steps):
        optimizer.param_groups[0]["lr"] = 0.06 * (0.5 + 0.5 * math.cos(math.pi * step / given.steps)) + 0.002
        sound = aligned(rig(heard), wanted)
        loss = distance(sound, wanted) + ratio(sound, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = measured(rig, held, unheard, distance)
    print(f"{given.amplifier} to {Path(given.capture).name}: {given.steps} steps, {time.monotonic() - begin:.0f} s")
    print(f"  MR-STFT {before[0]:.3f} -> {after[0]:.3f}    ESR {before[1]:.3f} -> {after[1]:.3f}    (unheard stretch)")
    print(f"  {rig.shown()}")


if __name__ == "__main__":
    main()
