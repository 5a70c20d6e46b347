"""Playlists as sentences: song vectors from what follows what, and a tower that places a song by its sound.

from hitchain.rater.playlist import embedding, fit, playlists
songs = embedding.learn(playlists.read("setlists"))
songs.next(["Tweezer"], count=10)                    # [(song, probability), ...]
term = fit.load("radio.safetensors", ["Tweezer"])    # (audio, sample_rate) -> (batch,), differentiable
"""
