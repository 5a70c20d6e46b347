"""Modulators: what turns a knob of another block through time."""
