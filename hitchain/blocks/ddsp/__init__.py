"""Instruments learnt from recordings: a decoder from pitch and loudness to harmonics and noise (Engel et al., DDSP).

decoder        the network, and its weights in a file
features       pitch and loudness of a recording
training       `hitchain train-instrument`
resynthesis    `hitchain resynth`
"""
