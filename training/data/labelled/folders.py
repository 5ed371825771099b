"""Reader of the layouts `<split>/<class>/...` and `<class>/...`, in a folder or an archive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from app.contract.labels import LABELS
from training.data.labelled.classes import ClassMap
from training.data.labelled.dataset import SplitName
from training.data.labelled.listing import Listing, Read
from training.data.labelled.references import EXPECTED_SPLITS, Reference, References, split_of
from training.data.labelled.report import BadFile
from training.errors import TrainingError

# Used to recognise the layout only. The content decides whether a file can be decoded.
_IMAGE_NAMES = (
    *(".jpg", ".jpeg", ".jpe", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif", ".jp2", ".jxl"),
)
_FER2013_NAME = re.compile(
    rf"(?:^|/)(?:train/({'|'.join(LABELS)})/Training|test/({'|'.join(LABELS)})/(PublicTest|PrivateTest))_\d+\.jpe?g$",
    re.IGNORECASE,
)
_FER2013_SPLITS = {None: SplitName.TRAIN, "publictest": SplitName.VALIDATION, "privatetest": SplitName.TEST}


def read_folders(source: Path, listing: Listing, classes: ClassMap) -> References:
    """Find the images of a folder or an archive.

    Args:
        source: For messages.
        listing: Its files.
        classes: Map of the folder names to labels.

    Raises:
        TrainingError: The layout is neither `<split>/<class>/...` nor `<class>/...`.
    """
    files = _without_wrapper(listing.files, classes)
    images = {name: read for name, read in files.items() if _is_image_name(name)}
    if not images:
        raise TrainingError(
            f"{source} contains no image. Expected {_layouts()}, and files that end in {', '.join(_IMAGE_NAMES)}."
            f" Received: {len(files)} other files."
        )
    with_splits = _has_splits(source, images)
    depth = 2 if with_splits else 1
    is_official = is_fer2013(images)
    found, bad_files = [], list(listing.bad_files)
    for name, read in files.items():
        parts = PurePosixPath(name).parts
        if len(parts) <= depth:
            if name in images:
                bad_files.append(BadFile(name, f"expected {_layouts()}. Received: an image outside the class folders"))
            continue  # a readme or a list of labels beside the folders
        split = _split_of(name, is_official) if with_splits else None
        found.append(Reference(name, read, classes.class_of(parts[depth - 1]), split))
    if not found:
        raise TrainingError(
            f"{source} contains no class folders. Expected {_layouts()}. Received: {len(images)} images without a"
            " folder that names their class. Move them into folders, or list them in a CSV with the columns path,label."
        )
    return References(tuple(found), tuple(bad_files))


def is_fer2013(names: Iterable[str]) -> bool:
    """Return whether all images have names of FER2013's folder edition (`train/happy/Training_1.jpg`)."""
    images = [name for name in names if _is_image_name(name)]
    return bool(images) and all(_FER2013_NAME.search(name) for name in images)


def _without_wrapper(files: Mapping[str, Read], classes: ClassMap) -> Mapping[str, Read]:
    """Remove folders that contain everything else, such as the folder of an unpacked archive."""
    while True:
        tops = {PurePosixPath(name).parts[0] for name in files if _is_image_name(name)}
        (top, *others) = tops or {""}
        inner = {name.removeprefix(f"{top}/"): read for name, read in files.items() if name.startswith(f"{top}/")}
        is_wrapper = any(len(PurePosixPath(name).parts) > 1 for name in inner if _is_image_name(name))
        names_content = split_of(top) is not None or classes.class_of(top) in LABELS
        if others or names_content or not is_wrapper:
            return files
        files = inner


def _has_splits(source: Path, images: Iterable[str]) -> bool:
    tops = {parts[0] for name in images if len(parts := PurePosixPath(name).parts) > 1}
    others = sorted(top for top in tops if split_of(top) is None)
    if others and len(others) < len(tops):
        splits = sorted(tops - set(others))
        raise TrainingError(
            f"{source} has folders of splits ({', '.join(splits)}) beside other folders. Expected {_layouts()}, with"
            f" the splits {EXPECTED_SPLITS}. Received also: {', '.join(others)}. Rename or move these folders."
        )
    return bool(tops) and not others


def _split_of(name: str, is_official: bool) -> SplitName | None:
    # The folder `test` of FER2013 contains PublicTest, the validation split, and PrivateTest.
    official = _FER2013_NAME.search(name) if is_official else None
    if official is not None:
        return _FER2013_SPLITS[official[3] and official[3].lower()]
    return split_of(PurePosixPath(name).parts[0])


def _is_image_name(name: str) -> bool:
    return name.lower().endswith(_IMAGE_NAMES)


def _layouts() -> str:
    return "<split>/<class>/<image> or <class>/<image>"
