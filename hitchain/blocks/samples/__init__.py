"""Recordings of instruments, and the files that map them over keys and velocities.

zone        what every format is read into: a recording, the keys and velocities it answers to, its loop and envelope
folder      one sound file, or a folder of them with notes in their names
sfz         SFZ text files
soundfont   SoundFont 2 files
stretching  a recording made longer, and its formants moved
prepared    a recording made ready for a pitch: loop unrolled, stretched, band-limited
"""

from hitchain.blocks.samples.zone import Zone

__all__ = ["Zone"]
