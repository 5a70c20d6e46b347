"""Shards made by processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from hitchain.errors import UserError
from hitchain.rater.shards.shard import Done, Job, Report, make_shard


def run(jobs: Sequence[Job], workers: int, report: Report) -> None:
    """Make shards by so many processes; by this one where it is one.

    The processes are spawned, and leave of themselves where this one is killed: their pipe is then closed.

    Raises:
        UserError: a shard cannot be written, or a process died.
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            make_shard(job, report)
        return
    waiting = deque(jobs)
    crew = [_Worker() for _ in range(min(workers, len(jobs)))]
    try:
        busy = {worker.pipe: worker for worker in crew}
        while busy:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                message = worker.receive()
                if isinstance(message, Done):
                    report(message)
                elif waiting:
                    worker.begin(waiting.popleft())
                else:
                    worker.pipe.close()
                    del busy[worker.pipe]
    except BaseException:
        for worker in crew:
            worker.process.terminate()
        raise
    finally:
        for worker in crew:
            worker.process.join()


class _Worker:
    """A process that makes one shard after another, and what it was last heard of."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.done = 0

    def begin(self, job: Job) -> None:
        self.job, self.done = job, 0
        self.pipe.send(job)

    def receive(self) -> Done | None:
        """A recording is done; None where the process waits for a shard to make."""
        try:
            message: Any = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise UserError(self._last_words()) from error
        if isinstance(message, str):
            raise UserError(message)
        if isinstance(message, Done):
            self.done += 1
            return message
        return None

    def _last_words(self) -> str:
        if self.job is None:
            return (
                "a process for decoding could not start. A script that prepares with several workers must do so under "
                "if __name__ == '__main__':, or with workers=1."
            )
        files = self.job.files
        name = f"while it decoded {files[self.done].path}" if self.done < len(files) else "while it wrote"
        return (
            f"a process that was making shard {self.job.number} died {name}: killed, out of memory, or its decoder "
            "crashed. What was finished is kept; run the same command again, without that row if it is to blame."
        )


def _serve(pipe: Connection) -> None:
    """Make the shards that come through the pipe. None says that the next may come, a text that it went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that shows the progress
    try:
        while True:
            pipe.send(None)
            make_shard(pipe.recv(), pipe.send)
    except (EOFError, ConnectionError):
        return  # all is done, or nobody is left to do it for
    except UserError as error:
        pipe.send(str(error))
