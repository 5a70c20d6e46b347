"""General MIDI 1: the names of the 128 programs and the drum channel (MIDI Manufacturers Association, RP-003)."""

from __future__ import annotations

DRUM_CHANNEL = 9
"""Channel 10 as people count."""

_FAMILIES = (
    "acoustic grand piano, bright acoustic piano, electric grand piano, honky-tonk piano, electric piano, "
    "electric piano 2, harpsichord, clavinet",
    "celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bells, dulcimer",
    "drawbar organ, percussive organ, rock organ, church organ, reed organ, accordion, harmonica, tango accordion",
    "nylon guitar, steel guitar, jazz guitar, clean guitar, muted guitar, overdriven guitar, distortion guitar, "
    "guitar harmonics",
    "acoustic bass, finger bass, pick bass, fretless bass, slap bass, slap bass 2, synth bass, synth bass 2",
    "violin, viola, cello, contrabass, tremolo strings, pizzicato strings, orchestral harp, timpani",
    "strings, slow strings, synth strings, synth strings 2, choir aahs, voice oohs, synth voice, orchestra hit",
    "trumpet, trombone, tuba, muted trumpet, french horn, brass section, synth brass, synth brass 2",
    "soprano sax, alto sax, tenor sax, baritone sax, oboe, english horn, bassoon, clarinet",
    "piccolo, flute, recorder, pan flute, blown bottle, shakuhachi, whistle, ocarina",
    "square lead, sawtooth lead, calliope lead, chiff lead, charang lead, voice lead, fifths lead, bass lead",
    "new age pad, warm pad, polysynth pad, choir pad, bowed pad, metallic pad, halo pad, sweep pad",
    "rain, soundtrack, crystal, atmosphere, brightness, goblins, echoes, sci-fi",
    "sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shanai",
    "tinkle bell, agogo, steel drums, woodblock, taiko drum, melodic tom, synth drum, reverse cymbal",
    "fret noise, breath noise, seashore, bird tweet, telephone ring, helicopter, applause, gunshot",
)

PROGRAMS: tuple[str, ...] = tuple(name.strip() for family in _FAMILIES for name in family.split(","))
"""Short names of programs 0 to 127."""
