"""Note tensors, MIDI files and the note blocks."""

from hitchain.blocks.notes.notes import Notes

__all__ = ["Notes"]
