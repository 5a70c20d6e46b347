"""Blocks of the stage `effects`, one a file or a close family. Importing the registry finds them all."""
