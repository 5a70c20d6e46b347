"""`python -m hitchain`: the command line, for where the installed command is not at hand (torchrun -m hitchain)."""

import sys

from hitchain.cli import main

if __name__ == "__main__":
    sys.exit(main())
