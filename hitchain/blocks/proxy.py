"""A learned stand-in for a plugin: a small network turns the plugin's knobs into those of blocks with exact gradients.

    proxy(x, u) = gain(saturation(compressor(equaliser(x)))) with their knobs = network(u),  u the plugin's, in [0, 1]

It is trained on noise, tones and hits at random knobs until its spectra are the plugin's, and then frozen: the sound of
`effects/plugin` stays the plugin's own, only the gradient comes from the proxy. It can learn what an equaliser, a
compressor and a saturation can do; of delays, reverbs and modulation it learns no more than their colour.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hitchain.blocks import registry
from hitchain.blocks.dsp import hosting
from hitchain.blocks.parameter import Parameter
from hitchain.errors import UserError, nearest
from hitchain.files import replacing

FORMAT = "hitchain plugin proxy 1"
BLOCKS: dict[str, dict[str, float]] = {
    "effects/parametric_eq": {},
    "effects/compressor": {"mix": 0.1},
    "mastering/saturation": {"mix": 0.05},
    "effects/gain": {},
}
"""The blocks of a proxy, and where their knobs stand before training, if not at their defaults: nearly a wire."""
WINDOWS = (256, 1024, 4096)
"""Lengths of the transforms in which the proxy and the plugin are compared."""

_WIDTH = 64
_SECONDS = 0.7
_BATCH = 4
_HELD_OUT = 12  # examples
_KEYS = ("plugin", "out", "steps", "seed", "sample_rate")


class Proxy(nn.Module):
    """Blocks whose knobs a network turns. `knobs` are the names of the plugin's parameters."""

    def __init__(self, knobs: Sequence[str], sample_rate: int) -> None:
        super().__init__()
        self.knobs = tuple(knobs)
        self.sample_rate = sample_rate
        self.blocks = nn.ModuleList(registry.create(name, sample_rate=sample_rate) for name in BLOCKS)
        last = nn.Linear(_WIDTH, sum(len(_parameters(block)) for block in self.blocks))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(
            nn.Linear(len(knobs), _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, _WIDTH), nn.Tanh(), last
        )

    def forward(self, audio: Tensor, positions: Tensor) -> Tensor:
        """Audio (batch, channels, samples) with the plugin's knobs at positions (batch, knobs) in [0, 1]."""
        turned = iter(self.network(2.0 * positions - 1.0).T)
        for block, start in zip(self.blocks, BLOCKS.values(), strict=True):
            settings = {}
            for parameter in _parameters(block):
                first = parameter.to_unit(torch.tensor(start.get(parameter.name, parameter.default))).clamp(0.03, 0.97)
                settings[parameter.name] = parameter.from_unit(torch.sigmoid(next(turned) + torch.logit(first)))
            audio = block(audio, settings)
        return audio


def _parameters(block: Any) -> list[Parameter]:
    return [parameter for parameter in block.parameters if isinstance(parameter, Parameter)]


def spectral_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean difference of log magnitudes [dB] over three window lengths; what is 60 dB below the loudest counts less."""
    total = one.new_zeros(())
    for window in WINDOWS:
        taper = torch.hann_window(window, dtype=one.dtype)
        sides = [
            torch.stft(signal.flatten(0, 1), window, window // 4, window=taper, return_complex=True).abs()
            for signal in (one, other)
        ]
        floor = 1e-3 * sides[1].detach().amax(dim=(1, 2), keepdim=True) + 1e-6
        total = total + (20.0 * torch.log10((sides[0] + floor) / (sides[1] + floor))).abs().mean()
    return total / len(WINDOWS)


def sounds(batch: int, sample_rate: int, generator: torch.Generator) -> Tensor:
    """What is trained on: noise, tones and hits mixed at random levels, mono (batch, 1, samples)."""
    samples = round(_SECONDS * sample_rate)
    time = torch.arange(samples) / sample_rate
    level = 10.0 ** (-1.5 * torch.rand(batch, 4, 1, generator=generator))
    noise = 0.3 * torch.randn(batch, samples, generator=generator)
    pitch = 55.0 * 2.0 ** (4.0 * torch.rand(batch, 1, generator=generator))
    tone = sum(torch.sin(2.0 * math.pi * pitch * k * time) / k for k in range(1, 9))
    hits = torch.exp(-((time * 6.0) % 1.0) * 8.0) * torch.randn(batch, samples, generator=generator)
    mixed = level[:, 0] * (level[:, 1] * noise + 0.5 * level[:, 2] * tone + level[:, 3] * hits)
    return mixed.clamp(-1.0, 1.0)[:, None]


def train(plugin: str, sample_rate: int = 44100, steps: int = 400, seed: int = 0) -> tuple[Proxy, dict[str, float]]:
    """A proxy of a plugin, and its distance on examples kept apart: {"dry": ..., "proxy": ...} in dB.

    "dry" is the distance of the unprocessed sound from the plugin's: what a proxy must undercut to be worth anything.
    """
    host = hosting.open_plugin(plugin, sample_rate)
    if not host.parameters:
        raise UserError(f"plugin={plugin} has no parameters: there is nothing for a proxy to learn.")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        proxy = Proxy([knob.name for knob in host.parameters], sample_rate)
    optimiser = torch.optim.Adam(proxy.network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    kept = _examples(host, _HELD_OUT, sample_rate, torch.Generator().manual_seed(seed + 1))
    for _ in range(steps):
        audio, positions, target = _examples(host, _BATCH, sample_rate, generator)
        loss = spectral_distance(proxy(audio, positions), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(proxy.network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        audio, positions, target = kept
        distances = {
            "dry": spectral_distance(audio, target),
            "proxy": spectral_distance(proxy(audio, positions), target),
        }
    return proxy.requires_grad_(False), {key: float(value) for key, value in distances.items()}


def _examples(
    host: hosting.Host, batch: int, sample_rate: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Sounds, knob positions and what the plugin makes of the one at the other."""
    audio = sounds(batch, sample_rate, generator)
    positions = torch.rand(batch, len(host.parameters), generator=generator)
    made = []
    for item, row in zip(audio, positions, strict=True):
        values = [float(knob.from_unit(place)) for knob, place in zip(host.parameters, row, strict=True)]
        made.append(torch.from_numpy(host.process(item.numpy(), values)))
    return audio, positions, torch.stack(made)


def save(path: Path, proxy: Proxy, plugin: str) -> None:
    """Write the network as safetensors, whole or not at all."""
    header = {"plugin": plugin, "knobs": proxy.knobs, "sample_rate": proxy.sample_rate}
    tensors = {key: value.contiguous() for key, value in proxy.network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, str(temporary), metadata={"format": FORMAT, "proxy": json.dumps(header)})


def load(path: str | Path, knobs: Sequence[str], sample_rate: int) -> Proxy:
    """A frozen proxy for a plugin with these knobs. Raises `UserError` where the file is none, or is another's."""
    if not Path(path).is_file():
        raise UserError(f"proxy={path}: there is no such file; write one with hitchain train-proxy.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata["proxy"]) if metadata.get("format") == FORMAT else None
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UserError(f"proxy={path} is not a readable proxy: {error}") from error
    if not isinstance(header, dict):
        raise UserError(f"proxy={path} was not written by hitchain train-proxy.")
    if list(header.get("knobs", [])) != list(knobs) or header.get("sample_rate") != sample_rate:
        raise UserError(
            f"proxy={path} was trained for {header.get('plugin')} at {header.get('sample_rate')} Hz, with parameters "
            f"{', '.join(map(str, header.get('knobs', [])))}; train one for this plugin and sample rate."
        )
    proxy = Proxy(knobs, sample_rate)
    try:
        proxy.network.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"proxy={path} does not hold a proxy's weights: {error}") from error
    return proxy.requires_grad_(False)


def train_proxy(words: Sequence[str]) -> None:
    """`hitchain train-proxy plugin=NAME_OR_PATH out=FILE`: train a proxy, and tell how near it comes."""
    given = dict(word.partition("=")[::2] for word in words)
    for key in given:
        if key not in _KEYS:
            raise UserError(f"'{key}': train-proxy has no such key; {nearest(key, _KEYS)}")
    if not given.get("plugin") or not given.get("out"):
        raise UserError("give a plugin and a file: hitchain train-proxy plugin=LadderFilter out=ladder.safetensors")
    numbers = {key: _whole(given, key, default) for key, default in (("steps", 400), ("seed", 0))}
    rate = _whole(given, "sample_rate", 44100)
    proxy, distances = train(given["plugin"], rate, **numbers)
    save(Path(given["out"]), proxy, given["plugin"])
    print(f"proxy    {given['out']}")
    print(f"distance {distances['proxy']:.2f} dB on examples kept apart; the dry sound's is {distances['dry']:.2f} dB")
    if distances["proxy"] > 0.5 * distances["dry"]:
        print(
            "warning  that is little nearer than the dry sound: this plugin's gradients are better left to estimation"
        )


def _whole(given: dict[str, str], key: str, default: int) -> int:
    try:
        return int(given.get(key, default))
    except ValueError as error:
        raise UserError(f"{key}={given[key]} should be a whole number.") from error
