"""hitchain: climb a popularity rating through a differentiable music production chain.

Three rooms: `hitchain.blocks` (processors), `hitchain.rater` (audio -> rating) and `hitchain.chain`
(songs made of blocks, and the climb). Imports point one way: chain -> blocks, chain -> rater.
"""

import os
from importlib.metadata import PackageNotFoundError, version

# PyTorch and Numba each bring a pool of OpenMP threads. Left to spin while they wait, they take the processor from one
# another: on two cores a pass then costs ten times as much. Read when the libraries are first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    __version__ = version("hitchain")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
