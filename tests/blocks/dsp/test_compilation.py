"""First use: the log says that kernels are compiled, and says nothing where they come from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import logging
from hitchain import blocks
import torch
logging.basicConfig(format="%(message)s", level=logging.INFO)
block = blocks.create("effects/compressor")
block(torch.ones(1, 1, 100), block.defaults())
"""


def _said(cache: Path) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=True)
    return done.stderr


def test_compiling_is_announced_once(tmp_path: Path) -> None:
    assert _said(tmp_path).count("compiling") == 1
    assert "compiling" not in _said(tmp_path)
