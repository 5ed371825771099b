"""Calls a function in processes of their own, so that one that dies takes neither its caller nor the others along."""

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


def call_apart(
    function: Callable[..., T], calls: Sequence[tuple[Any, ...]], side_by_side: int = 1
) -> Iterator[tuple[int, T | TrainingError]]:
    """Makes every call in a fresh process. No process outlives the iteration, or its caller.

    Args:
        function: Of a module; it, its arguments and its answer can be pickled.
        calls: The arguments of each call.
        side_by_side: How many processes run at once, 1 or more.

    Yields:
        Index of the call and what it returned, in the order in which they end; the `TrainingError` that it raised, or
        one that says how its process died.
    """
    spawn = multiprocessing.get_context("spawn")  # the threads of PyTorch do not survive a fork
    waiting = list(reversed(list(enumerate(calls))))
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < side_by_side:
                index, arguments = waiting.pop()
                receiver, sender = spawn.Pipe(duplex=False)
                process = spawn.Process(target=_answer, args=(sender, function, arguments))
                process.start()
                sender.close()  # the process holds the only other end: where it dies, the pipe ends
                running[receiver] = index, process
            for receiver in wait(list(running)):
                index, process = running.pop(receiver)  # type: ignore[index]
                yield index, _outcome(receiver, process)  # type: ignore[arg-type]
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller ends this process
    threading.Thread(target=_end_with_caller, daemon=True).start()
    try:
        answer = function(*arguments)
    except TrainingError as error:
        answer = error
    sender.send(answer)


def _end_with_caller() -> None:
    caller = multiprocessing.parent_process()
    if caller is not None:
        caller.join()
        os._exit(1)


def _outcome(receiver: Connection, process: BaseProcess) -> Any:
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        return TrainingError(f"its process {_end_of(process.exitcode)} before it was done; the same command goes on")
    finally:
        receiver.close()
        process.join()


def _end_of(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with status {exit_code}"
