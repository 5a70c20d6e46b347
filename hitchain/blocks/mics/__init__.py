"""Blocks of the stage `mics`, one a file or a close family. Importing the registry finds them all."""
