"""The registry, and what every registered block must declare."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hitchain import blocks
from hitchain.blocks import document
from hitchain.blocks.block import Block
from hitchain.blocks.certificate import example
from hitchain.blocks.parameter import Choice, Parameter
from hitchain.blocks.registry import STAGES, register
from hitchain.errors import UserError

NAMES = blocks.names()
PAGE = Path(__file__).parents[2] / "docs" / "blocks.md"
UNITS = [
    "",
    "Hz",
    "kHz",
    "dB",
    "dB/octave",
    "dBTP",
    "LUFS",
    "LU",
    "ms",
    "s",
    "semitones",
    "cents",
    "octaves",
    "%",
    ":1",
]
UNITS += ["1/s", "m", "cm", "degrees", "V", "beats", "BPM", "x", "inches", "in/s", "kohm", "dB/s", "bits"]


def test_names_are_sorted_within_the_stages_in_the_order_of_the_line() -> None:
    assert "mixer/fader" in NAMES
    stages = [STAGES.index(name.partition("/")[0]) for name in NAMES]
    assert stages == sorted(stages)
    assert blocks.names("mixer") == [name for name in NAMES if name.startswith("mixer/")]


def test_unknown_names_and_options_name_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'mixer/fader'"):
        blocks.create("mixer/fadr")
    with pytest.raises(UserError, match="did you mean 'mixer'"):
        blocks.names("mixr")
    with pytest.raises(UserError, match="'mixer/fader' has no option 'colour'"):
        blocks.create("mixer/fader", colour="red")


def test_a_taken_name_is_refused_and_a_reloaded_class_is_not() -> None:
    class Impostor(Block):
        """Not the fader."""

    before = blocks.get("mixer/fader")
    with pytest.raises(ValueError, match="'mixer/fader' is taken by hitchain"):
        register("mixer/fader")(Impostor)
    assert blocks.get("mixer/fader") is before
    assert register("mixer/fader")(before) is before


@pytest.mark.parametrize("name", ["fader", "kitchen/sink", "mixer/", "mixer/no good", "mixer/../fader"])
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be STAGE/NAME"):
        register(name)


def test_settings_are_checked_against_the_parameters() -> None:
    fader = blocks.create("mixer/fader")
    settings = fader.defaults(batch=2)
    fader.check(settings)
    with pytest.raises(UserError, match="no parameter 'levle'; did you mean 'level'"):
        fader.check({**settings, "levle": settings["level"]})
    with pytest.raises(UserError, match="needs a value for 'pan'"):
        fader.check({"level": settings["level"]})
    with pytest.raises(UserError, match="must be within -60 to 12 dB"):
        fader.check({**settings, "level": settings["level"] + 13})
    with pytest.raises(UserError, match="must be within"):
        fader.check({**settings, "level": settings["level"] * float("nan")})


@pytest.mark.parametrize("name", NAMES)
class TestEveryBlock:
    def test_is_documented(self, name: str) -> None:
        block = blocks.get(name)
        assert "__doc__" in vars(block), f"{name} has no docstring of its own"
        assert re.search(r"\w+ \w+", document.summary(name))
        assert len(document.summary(name)) <= 300, "the first paragraph says what it is in a line or two"

    def test_parameters_are_named_described_and_in_known_units(self, name: str) -> None:
        parameters = blocks.get(name).parameters
        keys = [parameter.name for parameter in parameters]
        assert len(set(keys)) == len(keys), f"two parameters of {name} have one name"
        for parameter in parameters:
            assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", parameter.name), parameter.name
            assert parameter.description or isinstance(parameter, Parameter), (
                f"{name}: {parameter.name}: say what is chosen"
            )
            if isinstance(parameter, Parameter):
                assert parameter.unit in UNITS, f"{name}: {parameter.name}: unit '{parameter.unit}'"

    def test_frequencies_turn_in_octaves(self, name: str) -> None:
        for parameter in blocks.get(name).parameters:
            if isinstance(parameter, Parameter) and parameter.unit == "Hz" and parameter.low > 0:
                wide = parameter.high / parameter.low > 10
                assert not wide or parameter.scale == "log", (
                    f"{name}: {parameter.name} spans {parameter.range} linearly"
                )

    def test_defaults_are_valid_and_the_probe_names_parameters(self, name: str) -> None:
        block = example(name)
        block.check(block.defaults(batch=3))
        known = {parameter.name: parameter for parameter in block.parameters}
        for key, value in block.probe.items():
            parameter = known[key]
            assert isinstance(parameter, Choice) or parameter.low <= value <= parameter.high, f"{name}: probe of {key}"

    def test_has_no_free_weights(self, name: str) -> None:
        trainable = [
            key for module in example(name).modules() for key, held in module._parameters.items() if held is not None
        ]
        assert not trainable, f"{name} holds {trainable}: a block is stateless, its values come in with each call"

    def test_description_names_every_parameter_and_option(self, name: str) -> None:
        text = document.describe(name)
        for parameter in blocks.get(name).parameters:
            assert f"  {parameter.name} " in text
        for option in blocks.options(name):
            assert f"  {option} " in text
        assert name in document.table()

    def test_constructor_takes_a_sample_rate_first(self, name: str) -> None:
        signature = list(inspect.signature(blocks.get(name).__init__).parameters)
        assert signature[1] == "sample_rate"


def test_page_of_blocks_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == document.markdown(), "docs/blocks.md is out of date: make docs"


def test_description_of_an_unknown_block_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'mixer/fader'"):
        document.describe("mixer/fadder")


def test_listing_blocks_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hitchain.blocks.document"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "### mixer/fader" in done.stdout
    assert "| level | -60 to 12 dB | 0 dB | linear | fader |" in done.stdout


def test_a_parameter_cannot_take_the_name_of_what_every_block_is_told() -> None:
    with pytest.raises(ValueError, match="cannot be named 'start'"):
        Parameter("start", 0.0, 1.0, default=0.5)
