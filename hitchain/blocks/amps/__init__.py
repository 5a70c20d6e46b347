"""Blocks of the stage `amps`, one a file or a close family. Importing the registry finds them all."""
