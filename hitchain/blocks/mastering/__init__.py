"""Blocks of the stage `mastering`, one a file or a close family. Importing the registry finds them all."""
