"""Jobs of one command spread over a Ray cluster, whose nodes share the folders and have hitchain installed."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from hitchain.errors import UserError
from hitchain.progress import Progress


def run_jobs(command: str, configs: Sequence[Mapping[str, Any]]) -> None:
    """Run a command with each config, as Ray tasks of one processor each.

    The cluster is the one that RAY_ADDRESS names ("auto", "ray://head:10001"), or else one started here for this call;
    one that this process is connected to already is used as it is. A job that fails does not stop the others.

    Raises:
        UserError: Ray is not installed, the cluster cannot be reached or fails, or jobs have failed: all are named.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("hydra/launcher=ray needs Ray: pip install hitchain[ray]") from error
    connected_here = not ray.is_initialized()
    if connected_here:
        connect(ray, None, None, "RAY_ADDRESS")
    try:
        task = ray.remote(num_cpus=1, max_retries=0)(_job)
        folder = os.getcwd()
        waiting = {task.remote(command, dict(config), folder): index for index, config in enumerate(configs)}
        failed: dict[int, str] = {}
        with Progress(len(waiting), command, unit="job") as progress:
            while waiting:
                for done in ray.wait(list(waiting))[0]:
                    index = waiting.pop(done)
                    try:
                        told = ray.get(done)
                    except ray.exceptions.RayError as error:
                        told = str(error).strip().splitlines()[-1]
                    if told:
                        failed[index] = told
                    progress.update(len(configs) - len(waiting))
    finally:
        if connected_here:
            ray.shutdown()
    if failed:
        told = "; ".join(f"job {index}: {failed[index]}" for index in sorted(failed))
        raise UserError(f"{len(failed)} of {len(configs)} jobs failed ({told}). The others are finished.")


def _job(command: str, config: dict[str, Any], folder: str) -> str:
    """A Ray task. Returns what went wrong, "" where nothing did."""
    from hitchain.cli import run_command

    try:
        os.chdir(folder)
        run_command(command, config)
    except (UserError, OSError) as error:
        return str(error)
    return ""


def connect(ray: Any, address: str | None, workers: int | None, key: str) -> None:
    """Connect to a cluster.

    Args:
        address: None for what RAY_ADDRESS says, or else one started here with `workers` processors (None for all).
        key: what the user sets the address by, for the message.

    Raises:
        UserError: it cannot be reached.
    """
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    processors = {"num_cpus": workers, "include_dashboard": False} if where == "local" else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _knock(where)
        ray.init(where, log_to_driver=False, logging_level=logging.WARNING, **processors)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot reach a Ray cluster at {key}={where} ({error}). Start one with ray start --head, or leave "
            f"{key} away to start one here."
        ) from error


def _knock(where: str) -> None:
    """Raise OSError where nobody listens at host:port: Ray itself would go on asking for minutes."""
    host, colon, port = where.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()
