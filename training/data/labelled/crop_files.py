"""Read, decode and crop many files in threads."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from joblib import cpu_count

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from training.data.labelled.dataset import LabelledSplit
from training.data.labelled.face_crops import Cropper, FaceCrop, UnusableImageError
from training.data.labelled.hash_split import content_hash
from training.data.labelled.listing import UnreadableFileError
from training.data.labelled.part import Part
from training.data.labelled.references import Reference
from training.data.labelled.report import BadFile

_PROGRESS_S = 10.0

_Result = tuple[FaceCrop, int] | str  # the crop and the hash of its file, or the reason why there is none


def crop_files(references: Sequence[Reference], cropper: Cropper) -> Part:
    """Read the files of one source.

    Args:
        references: Files whose class names are labels.
        cropper: Makes a crop of each file.

    Returns:
        The usable images in the order of the references, and the files that cannot be used.
    """
    crops: list[FaceCrop] = []
    hashes: list[int] = []
    used: list[Reference] = []
    bad_files: list[BadFile] = []
    for reference, result in zip(references, _results(references, cropper), strict=True):
        if isinstance(result, str):
            bad_files.append(BadFile(reference.name, result))
            continue
        crops.append(result[0])
        hashes.append(result[1])
        used.append(reference)
    splits = tuple(reference.split for reference in used if reference.split is not None)
    return Part(
        data=_labelled(used, crops),
        splits=splits if len(splits) == len(used) else None,
        hashes=np.array(hashes, dtype=np.uint64),
        bad_files=tuple(bad_files),
        notes=tuple(_notes(crops)),
    )


def _notes(crops: Sequence[FaceCrop]) -> Iterator[str]:
    if several := sum((crop.faces or 0) > 1 for crop in crops):
        yield f"Images with several faces, of which the largest is used: {several}."
    if truncated := sum(crop.truncated for crop in crops):
        yield f"Truncated files, which are decoded as far as they go, as in serving: {truncated}."


def _results(references: Sequence[Reference], cropper: Cropper) -> Iterator[_Result]:
    """Yield the result of each file in order, with a line of progress every ten seconds."""

    def crop(reference: Reference) -> _Result:
        try:
            data = reference.read()
            return cropper(data), content_hash(data)
        except (UnreadableFileError, UnusableImageError) as error:
            return str(error)

    printed = time.monotonic()
    with ThreadPoolExecutor(cpu_count()) as threads:
        try:
            for done, result in enumerate(threads.map(crop, references), start=1):
                if time.monotonic() - printed > _PROGRESS_S:
                    printed = time.monotonic()
                    print(f"Read {done} of {len(references)} files", file=sys.stderr, flush=True)
                yield result
        except BaseException:
            threads.shutdown(cancel_futures=True)  # Ctrl-C must not wait for all files
            raise


def _labelled(used: Sequence[Reference], crops: Sequence[FaceCrop]) -> LabelledSplit:
    columns = list(dict.fromkeys(column for reference in used for column in reference.groups))
    empty = np.empty((0, CROP_SIZE_PX, CROP_SIZE_PX, 1), np.uint8)
    return LabelledSplit(
        images=np.stack([crop.pixels for crop in crops]) if crops else empty,
        labels=np.array([LABELS.index(reference.class_name) for reference in used], dtype=np.int64),
        weights=np.ones(len(used), np.float32),
        groups={column: tuple(reference.groups.get(column, "") for reference in used) for column in columns},
        paths=tuple(reference.name for reference in used),
    )
