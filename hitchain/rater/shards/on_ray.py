"""Shards made on a Ray cluster, through Ray Data; its nodes share the folder and have hitchain installed."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from hitchain.errors import UserError
from hitchain.on_ray import connect
from hitchain.rater.shards.shard import Done, Job, Report, make_shard


def run(jobs: Sequence[Job], workers: int | None, report: Report, address: str | None) -> None:
    """Make shards as Ray tasks of one processor each.

    Args:
        workers: at most so many at a time; None for as many as the cluster has processors.
        address: of the cluster, such as "auto" or "ray://head:10001". None is the one that RAY_ADDRESS names, or else
            one started here for this run. A cluster this process is connected to already is used as it is.

    Raises:
        UserError: Ray is not installed, the cluster cannot be reached or fails, or a shard cannot be written.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("backend=ray needs Ray: pip install hitchain[ray]") from error
    connected_here = not ray.is_initialized()
    if connected_here:
        connect(ray, address, workers, "ray_address")
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # what stops the run comes as an exception
        ray.data.DataContext.get_current().enable_progress_bars = False
        items = [{"job": job.to_json()} for job in jobs]
        limit = None if workers is None else ray.data.TaskPoolStrategy(size=workers)
        made = ray.data.from_items(items, override_num_blocks=len(items)).map(_make, num_cpus=1, compute=limit)
        for row in made.iter_rows():
            if row["error"]:
                raise UserError(row["error"])
            for done in json.loads(row["done"]):
                report(Done(*done))
    except ray.exceptions.RayError as error:
        told = str(error).strip().splitlines()[-1:]
        raise UserError(f"Ray gave up: {' '.join(told)}. What was finished is kept; run it again.") from error
    finally:
        if connected_here:
            ray.shutdown()


def _make(row: dict[str, Any]) -> dict[str, Any]:
    """A Ray task: make a shard. What it tells is JSON, so that Arrow need not guess at columns."""
    done: list[Done] = []
    try:
        make_shard(Job.from_json(row["job"]), done.append)
    except UserError as error:
        return {"done": "[]", "error": str(error)}
    return {"done": json.dumps([astuple(one) for one in done]), "error": ""}
