"""`hitchain prepare`: a checked configuration to `prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hitchain.files import write_text
from hitchain.rater.shards.preparation import Say
from hitchain.rater.shards.preparation import prepare as run
from hitchain.rater.shards.prepared import Prepared
from hitchain.rater.shards.settings import PrepareSettings


def prepare(config: Mapping[str, Any], say: Say = print) -> Prepared:
    """Prepare what `config["source"]` describes in the folder `config["out"]`; see `PrepareSettings` for the rest.

    Raises:
        UserError: see `hitchain.rater.shards.preparation.prepare`.
    """
    import yaml

    settings = {key: value for key, value in config.items() if key not in ("source", "out")}
    prepared = run(config["source"], config["out"], PrepareSettings.from_mapping(settings), say)
    text = yaml.safe_dump({"command": "prepare", **config}, sort_keys=False, allow_unicode=True)
    write_text(prepared.folder / "config.yaml", text)
    return prepared
