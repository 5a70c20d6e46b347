"""The experiment: does climbing a rater through a chain give what climbing the waveform does not?"""
