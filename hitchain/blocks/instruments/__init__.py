"""Blocks of the stage `instruments`, one a file or a close family. Importing the registry finds them all."""
