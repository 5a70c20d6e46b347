"""Draw the README's picture from a run: python tools/picture.py RUN_FOLDER docs/climb.png (needs matplotlib)."""

from __future__ import annotations

import sys
from pathlib import Path

from hitchain.chain.report import write_history_picture

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write_history_picture(Path(sys.argv[1]), Path(sys.argv[2]))
