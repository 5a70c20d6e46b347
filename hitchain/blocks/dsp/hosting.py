"""Hosting audio plugins through pedalboard (JUCE): its built-in processors, and installed VST3 and AU files.

pedalboard is GPL-3.0 and comes with the extra `[plugins]`; it is imported when the first plugin is made, never before.
A VST3 or AU file is native code that runs with the rights of this process. So that a config or a run folder from
somebody else cannot bring such a file along, it is loaded only from the folders where plugins are installed, and from
those listed in the environment variable HITCHAIN_PLUGIN_FOLDERS.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hitchain.blocks.parameter import Parameter
from hitchain.errors import UserError, nearest

FOLDERS_VARIABLE = "HITCHAIN_PLUGIN_FOLDERS"
SUFFIXES = (".vst3", ".component")
_CORNERS = {"cutoff_frequency_hz", "cutoff_hz", "centre_frequency_hz"}
_HIGHEST_CORNER = 0.49  # of the sample rate: JUCE's filters give NaN above a half
_SHORTEST = 16  # samples; of fewer, pedalboard cannot tell channels from samples


class Host(Protocol):
    """A plugin ready to process. `process` may be called from several threads."""

    parameters: tuple[Parameter, ...]

    def process(self, audio: np.ndarray[Any, Any], values: Sequence[float]) -> np.ndarray[Any, Any]:
        """Audio float32 (channels, samples) through the plugin, from rest, its parameters at `values`."""
        ...


def _knob(name: str, low: float, high: float, default: float, unit: str = "", log: bool = False) -> Parameter:
    return Parameter(name, low, high, default, unit, "log" if log else "linear", "of the plugin", estimate=True)


def _mix(default: float = 0.5) -> Parameter:
    return _knob("mix", 0.0, 1.0, default)


def _timing(attack: float = 1.0) -> tuple[Parameter, ...]:
    return _knob("attack_ms", 0.1, 200.0, attack, "ms", True), _knob("release_ms", 5.0, 2000.0, 100.0, "ms", True)


def _band() -> tuple[Parameter, ...]:
    return (
        _knob("cutoff_frequency_hz", 20.0, 20000.0, 1000.0, "Hz", True),
        _knob("gain_db", -18.0, 18.0, 3.0, "dB"),
        _knob("q", 0.2, 10.0, 0.7071, log=True),
    )


def _swirl(centre: Parameter) -> tuple[Parameter, ...]:
    rate, depth = _knob("rate_hz", 0.05, 20.0, 1.0, "Hz", True), _knob("depth", 0.0, 1.0, 0.4)
    return rate, depth, centre, _knob("feedback", -0.9, 0.9, 0.0), _mix()


BUILT_IN: dict[str, tuple[Parameter, ...]] = {
    "Bitcrush": (_knob("bit_depth", 1.0, 24.0, 8.0),),
    "Chorus": _swirl(_knob("centre_delay_ms", 1.0, 50.0, 7.0, "ms")),
    "Clipping": (_knob("threshold_db", -40.0, 0.0, -6.0, "dB"),),
    "Compressor": (
        _knob("threshold_db", -60.0, 0.0, -18.0, "dB"),
        _knob("ratio", 1.0, 20.0, 3.0, log=True),
        *_timing(10.0),
    ),
    "Delay": (_knob("delay_seconds", 0.001, 2.0, 0.25, "s", True), _knob("feedback", 0.0, 0.95, 0.3), _mix(0.3)),
    "Distortion": (_knob("drive_db", 0.0, 60.0, 20.0, "dB"),),
    "GSMFullRateCompressor": (),
    "Gain": (_knob("gain_db", -60.0, 24.0, 0.0, "dB"),),
    "HighShelfFilter": _band(),
    "HighpassFilter": (_knob("cutoff_frequency_hz", 20.0, 20000.0, 50.0, "Hz", True),),
    "Invert": (),
    "LadderFilter": (
        _knob("cutoff_hz", 20.0, 20000.0, 1000.0, "Hz", True),
        _knob("resonance", 0.0, 0.95, 0.2),
        _knob("drive", 1.0, 20.0, 1.0),
    ),
    "Limiter": (_knob("threshold_db", -40.0, 0.0, -6.0, "dB"), _knob("release_ms", 5.0, 2000.0, 100.0, "ms", True)),
    "LowShelfFilter": _band(),
    "LowpassFilter": (_knob("cutoff_frequency_hz", 20.0, 20000.0, 8000.0, "Hz", True),),
    "MP3Compressor": (_knob("vbr_quality", 0.0, 9.9, 2.0),),
    "NoiseGate": (
        _knob("threshold_db", -100.0, 0.0, -50.0, "dB"),
        _knob("ratio", 1.0, 20.0, 10.0, log=True),
        *_timing(),
    ),
    "PeakFilter": _band(),
    "Phaser": _swirl(_knob("centre_frequency_hz", 50.0, 10000.0, 1300.0, "Hz", True)),
    "PitchShift": (_knob("semitones", -12.0, 12.0, 0.0, "semitones"),),
    "Resample": (_knob("target_sample_rate", 1000.0, 40000.0, 8000.0, "Hz", True),),
    "Reverb": (
        _knob("room_size", 0.0, 1.0, 0.5),
        _knob("damping", 0.0, 1.0, 0.5),
        _knob("wet_level", 0.0, 1.0, 0.33),
        _knob("dry_level", 0.0, 1.0, 0.4),
        _knob("width", 0.0, 1.0, 1.0),
    ),
}
"""pedalboard's own processors, with ranges a person would turn them in; pedalboard itself states none."""


def open_plugin(plugin: str, sample_rate: int) -> Host:
    """A built-in processor by its class name, or a VST3 or AU file by its path.

    Raises `UserError` where pedalboard is missing, there is no such plugin, or it may not be or cannot be loaded.
    """
    if plugin in BUILT_IN:
        return _BuiltIn(plugin, sample_rate)
    if not plugin.lower().endswith(SUFFIXES):
        raise UserError(
            f"plugin={plugin} is neither a built-in processor nor a file ending in {' or '.join(SUFFIXES)}; "
            f"{nearest(plugin, BUILT_IN)}"
        )
    return _Native(load_native(Path(plugin)), sample_rate)


def pedalboard() -> Any:
    """The package. Raises `UserError` naming the extra where it is not installed."""
    try:
        import pedalboard as package
    except ImportError as error:
        raise UserError("effects/plugin needs pedalboard: pip install 'hitchain[plugins]'") from error
    return package


def allowed_folders() -> list[Path]:
    """Where native plugins may be loaded from: where systems install them, and what the environment adds."""
    home = Path.home()
    standard = {
        "linux": [home / ".vst3", Path("/usr/lib/vst3"), Path("/usr/local/lib/vst3")],
        "darwin": [
            root / "Library/Audio/Plug-Ins" / kind for root in (home, Path("/")) for kind in ("VST3", "Components")
        ],
        "win32": [Path(os.environ.get("COMMONPROGRAMFILES", r"C:\Program Files\Common Files")) / "VST3"],
    }
    added = [Path(part) for part in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if part]
    return [folder.resolve() for folder in (*standard.get(sys.platform, []), *added)]


def load_native(path: Path) -> Any:
    """A VST3 or AU plugin, as pedalboard loads it: its code runs in this process."""
    real = path.expanduser().resolve()
    folders = allowed_folders()
    if not real.exists():
        raise UserError(f"plugin={path}: there is no such file.")
    if not any(real.is_relative_to(folder) for folder in folders):
        raise UserError(
            f"plugin={path} would run native code from outside the plugin folders "
            f"({', '.join(str(folder) for folder in folders)}). If you trust it, set {FOLDERS_VARIABLE}={real.parent}"
        )
    try:
        loaded = pedalboard().load_plugin(str(real))
    except (ImportError, ValueError, RuntimeError) as error:
        raise UserError(f"plugin={path} cannot be loaded: {error}") from error
    if not getattr(loaded, "is_effect", True):
        raise UserError(f"plugin={path} is an instrument; effects/plugin takes effects.")
    return loaded


class _BuiltIn:
    """A processor of pedalboard's own. A fresh one for every call: from rest, and free of other threads."""

    def __init__(self, name: str, sample_rate: int) -> None:
        package = pedalboard()
        if not hasattr(package, name):
            raise UserError(f"plugin={name}: this version of pedalboard has none; take a newer one.")
        self.make: Any = getattr(package, name)
        self.parameters = BUILT_IN[name]
        self.sample_rate = sample_rate

    def process(self, audio: np.ndarray[Any, Any], values: Sequence[float]) -> np.ndarray[Any, Any]:
        named = {parameter.name: value for parameter, value in zip(self.parameters, values, strict=True)}
        for name in named.keys() & _CORNERS:
            named[name] = min(named[name], _HIGHEST_CORNER * self.sample_rate)
        return _processed(self.make(**named), audio, self.sample_rate)


class _Native:
    """A plugin from a file. Its parameters are positions from 0 to 1, as the plugin itself counts them."""

    def __init__(self, plugin: Any, sample_rate: int) -> None:
        self.plugin = plugin
        self.sample_rate = sample_rate
        self.lock = threading.Lock()
        known = {
            name: parameter
            for name, parameter in plugin.parameters.items()
            if name.isidentifier() and getattr(parameter, "is_automatable", True)
        }
        self.names = tuple(known)
        self.parameters = tuple(_position(name, parameter) for name, parameter in known.items())

    def process(self, audio: np.ndarray[Any, Any], values: Sequence[float]) -> np.ndarray[Any, Any]:
        with self.lock:
            for name, value in zip(self.names, values, strict=True):
                self.plugin.parameters[name].raw_value = float(value)
            return _processed(self.plugin, audio, self.sample_rate)


def _position(name: str, parameter: Any) -> Parameter:
    low, high = (getattr(parameter, key, None) for key in ("min_value", "max_value"))
    label = getattr(parameter, "label", None) or ""
    text = "position" if low is None else f"position: {low} to {high} {label}".rstrip()
    default = min(max(float(parameter.raw_value), 0.0), 1.0)
    return Parameter(name, 0.0, 1.0, default, description=text, estimate=True)


def _processed(plugin: Any, audio: np.ndarray[Any, Any], sample_rate: int) -> np.ndarray[Any, Any]:
    """Through the plugin from rest, cut or filled to the length of the audio."""
    samples = audio.shape[-1]
    given = np.pad(audio, ((0, 0), (0, max(0, _SHORTEST - samples))))
    out = np.asarray(plugin.process(np.ascontiguousarray(given, dtype=np.float32), float(sample_rate), reset=True))
    missing = max(0, samples - out.shape[-1])
    return np.pad(out, ((0, 0), (0, missing)))[:, :samples]
