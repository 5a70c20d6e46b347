"""Blocks: the processors of a production line, and the registry that knows them all.

>>> from hitchain import blocks
>>> compressor = blocks.create("effects/compressor", sample_rate=44100)
"""

from hitchain.blocks.block import Block, Instrument, LinearBlock, NoteBlock
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import ONSETS, SEED, SIDECHAIN, START, Choice, Parameter, Settings
from hitchain.blocks.registry import STAGES, create, get, names, options, register

__all__ = [
    "ONSETS",
    "SEED",
    "SIDECHAIN",
    "STAGES",
    "START",
    "Block",
    "Choice",
    "Instrument",
    "LinearBlock",
    "NoteBlock",
    "Notes",
    "Parameter",
    "Settings",
    "create",
    "get",
    "names",
    "options",
    "register",
]
