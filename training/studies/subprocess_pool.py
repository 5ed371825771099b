"""Function calls in separate processes: a crash in one process affects neither the caller nor the other calls.

`concurrent.futures.ProcessPoolExecutor` does not fit: when one of its processes dies, all other calls fail too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from training.errors import TrainingError

T = TypeVar("T")


def call_in_subprocesses(
    function: Callable[..., T], calls: Sequence[tuple[Any, ...]], jobs: int = 1
) -> Iterator[tuple[int, T | TrainingError]]:
    """Make every call in a new process. No process outlives the iteration or the calling process.

    Args:
        function: Function of a module. The function, its arguments and its result must be picklable.
        calls: Arguments of each call.
        jobs: Number of processes that run at the same time, at least 1.

    Yields:
        Index of the call and its result, in the order of completion. A `TrainingError` that the function raised, and a
        `TrainingError` for a process that died, are yielded as results.
    """
    spawn = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
    waiting = list(reversed(list(enumerate(calls))))
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                index, arguments = waiting.pop()
                receiver, sender = spawn.Pipe(duplex=False)
                process = spawn.Process(target=_run, args=(sender, function, arguments))
                process.start()
                sender.close()  # only the child keeps this end, so its death closes the pipe
                running[receiver] = index, process
            finished = wait(list(running))
            for receiver in [receiver for receiver in running if receiver in finished]:
                done, ended = running.pop(receiver)
                yield done, _result(receiver, ended)
    finally:
        for _, unfinished in running.values():
            unfinished.terminate()
            unfinished.join()


def _run(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the caller ends this one
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        result = function(*arguments)
    except TrainingError as error:
        result = error
    sender.send(result)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _result(receiver: Connection, process: BaseProcess) -> Any:
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        return TrainingError(
            f"the process {_describe_exit(process.exitcode)} before the end. Run the same command again to resume."
        )
    finally:
        receiver.close()
        process.join()


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"exited with status {exit_code}"
