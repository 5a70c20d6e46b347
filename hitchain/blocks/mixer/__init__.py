"""Blocks of the stage `mixer`, one a file or a close family. Importing the registry finds them all."""
