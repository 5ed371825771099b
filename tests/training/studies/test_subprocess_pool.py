"""Calls in subprocesses: results, errors, crashes, and no process that outlives its caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from training.errors import TrainingError
from training.studies.subprocess_pool import call_in_subprocesses

PATIENCE_S = 60


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


def halved(number: int) -> int:
    if number % 2:
        raise TrainingError(f"{number} is odd")
    return number // 2


def die(how: str) -> str:
    if how == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "status":
        os._exit(3)
    if how == "error":
        raise ValueError("unexpected")
    return "alive"


def meet(own: Path, other: Path) -> str:
    own.touch()
    wait_for(other.exists)
    return own.name


def stay(pid_file: Path | None) -> None:
    if pid_file is not None:
        unfinished = pid_file.with_suffix(".tmp")
        unfinished.write_text(str(os.getpid()))
        unfinished.replace(pid_file)
        time.sleep(2 * PATIENCE_S)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # ended; its parent has not read the exit status yet


def test_results_and_errors_have_the_index_of_their_call():
    (first, four), (second, error), (third, one) = call_in_subprocesses(halved, [(8,), (7,), (2,)])
    assert (first, four, second, third, one) == (0, 4, 1, 2, 1)
    assert isinstance(error, TrainingError)
    assert str(error) == "7 is odd"


@pytest.mark.parametrize(
    ("how", "message"), [("signal", "killed by SIGSEGV"), ("status", "status 3"), ("error", "status 1")]
)
def test_crash_is_an_error_and_the_other_calls_continue(how, message):
    (_, error), (_, answer) = call_in_subprocesses(die, [(how,), ("not",)])
    assert isinstance(error, TrainingError)
    assert message in str(error)
    assert answer == "alive"


def test_jobs_run_at_the_same_time(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert {answer for _, answer in call_in_subprocesses(meet, [(one, two), (two, one)], jobs=2)} == {"one", "two"}


def test_closed_iterator_ends_its_processes(tmp_path):
    calls = call_in_subprocesses(stay, [(None,), (tmp_path / "pid",)], jobs=2)
    assert next(calls) == (0, None)
    wait_for((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    assert not is_gone(pid)
    calls.close()
    assert is_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_end_with_a_killed_caller(tmp_path):
    program = (
        "from pathlib import Path\n"
        "from tests.training.studies.test_subprocess_pool import stay\n"
        "from training.studies.subprocess_pool import call_in_subprocesses\n"
        f"if __name__ == '__main__': list(call_in_subprocesses(stay, [(Path({str(tmp_path / 'pid')!r}),)]))"
    )
    caller = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY)
    try:
        wait_for((tmp_path / "pid").exists)
    finally:
        caller.kill()
        caller.wait()
    wait_for(lambda: is_gone(int((tmp_path / "pid").read_text())))
