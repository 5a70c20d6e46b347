"""Blocks of the stage `cabs`, one a file or a close family. Importing the registry finds them all."""
