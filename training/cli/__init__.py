"""The command line, `python -m training <command>`: parse arguments, call one function, print errors as sentences."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "torch")

from app.contract.sidecar import ManifestError
from app.inference.session import DeviceError, SelfTestError
from training.cli import evaluation, examples, fine_tuning, models, runs, runtimes, studies, verifier
from training.errors import TrainingError
from training.files import UNFINISHED

_INTERRUPTED = 130  # exit status that a shell reports for SIGINT


def main() -> int:
    """Run one command and return the exit status: 0, 2 for an error of the user, or 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Train and measure emotion networks.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in (runs, fine_tuning, studies, models, evaluation, runtimes, examples, verifier):
        module.add_commands(commands)
    arguments = parser.parse_args()
    run: Callable[[argparse.Namespace], None] = arguments.run_command
    try:
        run(arguments)
    except (TrainingError, ManifestError, DeviceError, SelfTestError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a path that cannot be read or written, a full disk
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        path = str(error.filename or "the output").removesuffix(UNFINISHED)
        print(f"error: cannot read or write {path}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. At most the current epoch is lost: repeat the command to continue.", file=sys.stderr)
        return _INTERRUPTED
    return 0
