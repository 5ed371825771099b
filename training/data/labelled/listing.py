"""The files of a folder or an archive, by relative name."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data.labelled.report import BadFile
from training.errors import TrainingError

MAX_FILE_BYTES = 64 * 1024 * 1024
# Files that operating systems put beside images.
_IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx"})

Read = Callable[[], bytes]


class UnreadableFileError(Exception):
    """A file cannot be read. The message is the reason."""


@dataclass(frozen=True)
class Listing:
    """Files of one source.

    Attributes:
        files: Relative name with `/` -> function that reads the file and raises `UnreadableFileError`.
        bad_files: Entries that cannot be followed.
    """

    files: Mapping[str, Read]
    bad_files: tuple[BadFile, ...] = ()


def list_folder(folder: Path) -> Listing:
    """List all files below a folder, sorted. Links to folders are followed, except into a folder above the link."""
    bad_files: list[BadFile] = []
    files = {
        path.relative_to(folder).as_posix(): partial(read_file, path) for path in _walk(folder, folder, (), bad_files)
    }
    return Listing(files, tuple(bad_files))


def list_archive(path: Path, stack: ExitStack) -> Listing:
    """List all files of a .zip archive, sorted. The archive stays open until the stack closes.

    Raises:
        TrainingError: The file is not a readable archive.
    """
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise TrainingError(f"{path} is not a readable .zip archive: {error}. Copy or download it again.") from error
    members = {info.filename.replace("\\", "/"): info for info in archive.infolist() if not info.is_dir()}
    names = sorted(name for name in members if not any(_is_ignored(part) for part in name.split("/")))
    return Listing({name: partial(_read_member, archive, members[name]) for name in names})


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        UnreadableFileError: The file is missing, is not a regular file or is too large.
    """
    try:
        if not path.is_file():  # a pipe would block
            raise UnreadableFileError("expected a file. Received: " + ("a folder" if path.is_dir() else "no such file"))
        _check_size(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"the file cannot be read: {error.strerror}") from error


def _walk(folder: Path, root: Path, above: tuple[Path, ...], bad_files: list[BadFile]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        bad_files.append(BadFile(folder.relative_to(root).as_posix(), "the link leads to a folder above it"))
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        name = folder.relative_to(root).as_posix()
        bad_files.append(BadFile(name, f"the folder cannot be read: {error.strerror}"))
        return
    for path in entries:
        if _is_ignored(path.name):
            continue
        if path.is_dir():
            yield from _walk(path, root, (*above, real), bad_files)
        else:
            yield path


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    _check_size(info.file_size)
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise UnreadableFileError(f"the file cannot be read from the archive: {error}") from error


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise UnreadableFileError(f"expected at most {MAX_FILE_BYTES} bytes. Received: {size}")
