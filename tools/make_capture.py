"""Make the shipped capture: a small WaveNet trained on the project's own circuit amplifier.

    python tools/make_capture.py [seconds of training]

What it plays is made here (plucked notes, chords, noise and sweeps from a fixed seed), and so is the amplifier: nobody
else's work is in the file. Writes hitchain/data/captures/plain.nam and prints the error on notes it has not heard.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import hitchain  # isort: skip  # noqa: F401
import torch
from torch import Tensor

from hitchain import blocks, files
from hitchain.blocks.amps.capture_files import parse
from hitchain.blocks.dsp.captures import WaveNet

RATE, LENGTH, BATCH, CHANNELS = 48_000, 12_288, 4, 4
DILATIONS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
TARGET = Path(__file__).resolve().parent.parent / "hitchain" / "data" / "captures" / "plain.nam"
SETTINGS = {"drive": 26.0, "bias": 0.3, "master": 6.0, "sag": 0.0, "presence": 0.4, "treble": 0.6}


def playing(seconds: int, generator: torch.Generator) -> Tensor:
    """A guitar-like performance: (seconds, RATE), each second on its own."""

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    times = torch.arange(RATE) / RATE
    harmonics = torch.arange(1, 25)[:, None]
    rows = []
    for index in range(seconds):
        sound = torch.zeros(RATE)
        for _ in range(1 + index % 3):
            pitch, phase = 75.0 * 2.0 ** (3.5 * drawn(1)), 2 * math.pi * drawn(24, 1)
            onset, decay = 0.5 * drawn(1), 2.0 + 6.0 * drawn(1)
            envelope = torch.exp(-decay * (times - onset).clamp_min(0)) * (times > onset)
            partials = torch.sin(2 * math.pi * pitch * harmonics * times + phase) / harmonics ** (1.0 + drawn(1))
            sound += envelope * (partials * (pitch * harmonics < 10_000)).sum(0)
        if index % 4 == 3:
            sound = torch.randn(RATE, generator=generator) * torch.exp(-3.0 * times)
        level = 0.02 * 30.0 ** float(drawn(1))
        rows.append(sound * level / sound.std())
    return torch.stack(rows)


def untrained(generator: torch.Generator) -> dict[str, object]:
    stack = {"input_size": 1, "condition_size": 1, "channels": CHANNELS, "kernel_size": 3, "dilations": DILATIONS}
    stack |= {"head_size": 1, "head_bias": True, "activation": "Tanh", "gated": False}
    weights: list[Tensor] = [torch.randn(CHANNELS, generator=generator)]
    for _ in DILATIONS:
        for shape, fan in ((CHANNELS * CHANNELS * 3, 3 * CHANNELS), (CHANNELS, 0), (CHANNELS, 1)):
            weights.append(torch.randn(shape, generator=generator) * (fan**-0.5 if fan else 0.0))
        weights += [torch.randn(CHANNELS**2, generator=generator) * CHANNELS**-0.5 * 0.3, torch.zeros(CHANNELS)]
    weights += [torch.randn(CHANNELS, generator=generator), torch.zeros(1), torch.tensor([0.1])]
    config = {"layers": [stack], "head": None, "head_scale": 0.1}
    data = {"version": "0.5.4", "architecture": "WaveNet", "config": config, "sample_rate": RATE}
    return {**data, "weights": torch.cat(weights).tolist()}


def main(budget: float) -> None:
    generator = torch.Generator().manual_seed(0)
    data = untrained(generator)
    network = parse(data, "a new network").network
    if not isinstance(network, WaveNet):
        raise TypeError("the network should be a WaveNet")
    knobs = [buffer.requires_grad_() for buffer in network.buffers()]
    amplifier = blocks.create("amps/tube", sample_rate=RATE)
    settings = {**amplifier.defaults(), **{key: torch.tensor([value]) for key, value in SETTINGS.items()}}
    dry = playing(300, generator)
    with torch.no_grad():
        wet = torch.cat([amplifier(row[None, None], settings)[0] for row in dry])
    held, begin, steps = slice(280, 300), time.monotonic(), 0
    optimizer = torch.optim.Adam(knobs, lr=1e-2)
    while (share := (time.monotonic() - begin) / budget) < 1.0:
        optimizer.param_groups[0]["lr"] = 1e-2 * (1.0 - share) + 5e-5
        rows = torch.randint(280, (BATCH,), generator=generator)
        starts = torch.randint(RATE - LENGTH - network.reach, (BATCH,), generator=generator)
        played = torch.stack([dry[r, s : s + LENGTH + network.reach] for r, s in zip(rows, starts, strict=True)])
        wanted = torch.stack([wet[r, s + network.reach :][:LENGTH] for r, s in zip(rows, starts, strict=True)])
        error = network.inside(played[:, None]) - wanted
        lifted = [value[:, 1:] - 0.85 * value[:, :-1] for value in (error, wanted)]
        loss = lifted[0].square().mean() / lifted[1].square().mean()
        loss = loss + error.square().mean() / wanted.square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(knobs, 1.0)
        optimizer.step()
        steps += 1
    with torch.no_grad():
        heard = network(dry[held], torch.zeros(20, 0, 1))
        esr = float((heard - wet[held]).square().sum() / wet[held].square().sum())
    array = network.arrays[0]
    named = dict(network.named_buffers())
    row = [named["0_rechannel"], *(named[f"0_{n}_{p}"] for n in range(len(DILATIONS)) for p in range(5))]
    row += [named["0_head"], named["0_head_bias"], torch.tensor([network.scale])]
    weights = [round(value, 7) for value in torch.cat([part.detach().flatten() for part in row]).tolist()]
    data["weights"] = weights
    about = "a small WaveNet trained by tools/make_capture.py on amps/tube; made for hitchain, CC0"
    data["metadata"] = {"name": "plain", "modeled_by": about, "training_esr": esr}
    files.write_text(TARGET, json.dumps(data) + "\n")
    print(f"{steps} steps, {len(weights)} weights, {array.activation}: ESR {esr:.4f} on unheard notes")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0)
