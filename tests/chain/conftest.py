"""Songs for the tests of the chain: the demo, cut short where the whole is not the point."""

from __future__ import annotations

import pytest

from hitchain.chain import Song

SHORT = ["song.length=4.0"]


@pytest.fixture(scope="session")
def demo() -> Song:
    """The demo band, its first four seconds."""
    return Song.load("demo", overrides=SHORT)


@pytest.fixture(scope="session")
def solo() -> Song:
    """One track through every stage."""
    return Song.load("solo", overrides=[*SHORT, "amp=tube", "cab=speaker", "mic=microphone"])
