"""Calls in processes of their own: answers, errors, deaths, and that no process is left behind."""

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
from training.studies.subprocess_pool import call_apart

PATIENCE_S = 60


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not come"
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
        raise ValueError("not ours")
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
    return state == "Z"  # ended; only its parent has not asked how


def test_call_apart_gives_each_answer_or_error_its_index():
    (first, four), (second, error), (third, one) = call_apart(halved, [(8,), (7,), (2,)])
    assert (first, four, second, third, one) == (0, 4, 1, 2, 1)
    assert isinstance(error, TrainingError)
    assert str(error) == "7 is odd"


@pytest.mark.parametrize(
    ("how", "said"), [("signal", "killed by SIGSEGV"), ("status", "status 3"), ("error", "status 1")]
)
def test_call_apart_death_is_an_error_and_the_rest_goes_on(how, said):
    (_, error), (_, answer) = call_apart(die, [(how,), ("not",)])
    assert isinstance(error, TrainingError)
    assert said in str(error)
    assert answer == "alive"


def test_call_apart_side_by_side(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert {answer for _, answer in call_apart(meet, [(one, two), (two, one)], side_by_side=2)} == {"one", "two"}


def test_call_apart_left_early_ends_its_processes(tmp_path):
    calls = call_apart(stay, [(None,), (tmp_path / "pid",)], side_by_side=2)
    assert next(calls) == (0, None)
    wait_for((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    assert not is_gone(pid)
    calls.close()
    assert is_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_call_apart_caller_that_is_killed_takes_its_processes_along(tmp_path):
    program = (
        "from pathlib import Path\n"
        "from tests.training.studies.test_subprocess_pool import stay\n"
        "from training.studies.subprocess_pool import call_apart\n"
        f"if __name__ == '__main__': list(call_apart(stay, [(Path({str(tmp_path / 'pid')!r}),)]))"
    )
    caller = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY)
    try:
        wait_for((tmp_path / "pid").exists)
    finally:
        caller.kill()
        caller.wait()
    wait_for(lambda: is_gone(int((tmp_path / "pid").read_text())))
