"""The architectures by name, their options, and how one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.rater.networks.inception import Inception
from hitchain.rater.networks.jynet import JYnet
from hitchain.rater.networks.mel_cnn import MelCNN
from hitchain.rater.networks.mel_gru import MelGRU
from hitchain.rater.networks.mel_tcn import MelTCN
from hitchain.rater.networks.pooling import POOLINGS
from hitchain.rater.networks.self_similarity import SelfSimilarity
from hitchain.rater.networks.transformer import ATTENTION_HEADS, Transformer
from hitchain.rater.networks.trunk import POPULARITY, HeadSettings, RatingNetwork

Kind = Callable[[int, int, HeadSettings], RatingNetwork]

ARCHITECTURES: dict[str, Kind] = {
    "mel_cnn": MelCNN,
    "mel_tcn": MelTCN,
    "mel_gru": MelGRU,
    "jynet": JYnet,
    "inception": Inception,
    "transformer": Transformer,
    "self_similarity": SelfSimilarity,
}
WIDTHS = {
    "mel_cnn": 16, "mel_tcn": 80, "mel_gru": 56, "jynet": 64, "inception": 24, "transformer": 96, "self_similarity": 16,
}  # fmt: skip
OPTIONS = ("width", "dropout", "pooling")
MOST_CLASSES = 4096


def default_options(architecture: str) -> dict[str, Any]:
    """The options of `create` where none are given; they are written into weights files."""
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise UserError(f"unknown rater architecture {architecture!r}; {nearest(str(architecture), ARCHITECTURES)}")
    return {"width": WIDTHS[architecture], "dropout": 0.3, "pooling": "attention"}


def create(
    architecture: str, mel_bands: int, heads: Mapping[str, Sequence[str]] | None = None, **options: Any
) -> RatingNetwork:
    """A freshly initialised rating network, (batch, 2, mel_bands, frames) -> (batch,).

    Args:
        architecture: one of `ARCHITECTURES`; "mel_cnn" is the default elsewhere.
        mel_bands: bands of the front end, 16 to 256.
        heads: label column -> its class names; each becomes a head of `tasks`.
        options: `width` (8 to 256; of a transformer a multiple of 4), `dropout` (0 to 0.9) and `pooling` over time
            ("attention": attentive statistics; "gem": generalised mean); left out, the architecture's own.

    Raises:
        UserError: the name, an option or a value is not known.
    """
    chosen = {**default_options(architecture), **options}
    for name in options:
        if name not in OPTIONS:
            raise UserError(f"unknown option {name!r} of {architecture}; {nearest(name, OPTIONS)}")
    _in_range("mel_bands", mel_bands, 16, 256, whole=True)
    _in_range("width", chosen["width"], 8, 256, whole=True)
    _in_range("dropout", chosen["dropout"], 0.0, 0.9, whole=False)
    if not isinstance(chosen["pooling"], str) or chosen["pooling"] not in POOLINGS:
        raise UserError(
            f"rater network: unknown pooling {chosen['pooling']!r}; {nearest(str(chosen['pooling']), POOLINGS)}"
        )
    if architecture == "transformer" and chosen["width"] % ATTENTION_HEADS:
        raise UserError(f"rater network: width is {chosen['width']}; of a transformer it must be a multiple of 4.")
    settings = HeadSettings(chosen["dropout"], chosen["pooling"], _checked_heads(heads or {}))
    return ARCHITECTURES[architecture](mel_bands, chosen["width"], settings)


def _checked_heads(heads: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(heads, Mapping):
        raise UserError(f"rater network: heads is {heads!r}; it must be label columns, each with its class names.")
    for name, classes in heads.items():
        if not isinstance(name, str) or not name or name == POPULARITY:
            raise UserError(
                f"rater network: {name!r} is not a label column a head can have (popularity is always there)."
            )
        words = isinstance(classes, Sequence) and not isinstance(classes, str)
        if not words or not all(isinstance(word, str) for word in classes) or len(set(classes)) != len(classes):
            raise UserError(f"rater network: the classes of head {name!r} must be words, each once, not {classes!r}.")
        if not 1 <= len(classes) <= MOST_CLASSES:
            raise UserError(
                f"rater network: head {name!r} has {len(classes)} classes; it can have 1 to {MOST_CLASSES}."
            )
    return {name: tuple(classes) for name, classes in heads.items()}


def _in_range(name: str, value: Any, low: float, high: float, whole: bool) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        raise UserError(f"rater network: {name} is {value!r}; it must be {what} from {low:g} to {high:g}.")
