"""hitchain: climb a popularity rating through a differentiable music production chain.

Three rooms: `hitchain.blocks` (processors), `hitchain.rater` (audio -> rating) and `hitchain.chain`
(songs made of blocks, and the climb). Imports point one way: chain -> blocks, chain -> rater.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("hitchain")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
