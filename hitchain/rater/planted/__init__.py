"""Planted labels: does a rating network hear a rule that is known?

    python -m hitchain.rater.planted out=FOLDER

Real popularity data is scarce and noisy, so that a low correlation says nothing about the network. Here the plays and
likes of songs follow a hidden rule over what librosa measures in their finished audio, plus noise whose ceiling is
known: synth.py makes the songs (recordings.py cuts them from real ones), rules.py measures and rules, corpus.py writes
them down as manifests, curve.py trains with the ordinary trainer on more and more songs, report.py draws the curve.
"""
