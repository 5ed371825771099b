"""One value of `--data`: a path, the weight of its images and its class map."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.labelled.classes import NAMES_ONLY, ClassMap, load_class_map
from training.errors import TrainingError

_WEIGHTED = re.compile(r"(?P<path>.+)@(?P<weight>[^@/\\]+)")


@dataclass(frozen=True)
class Source:
    """One labelled set.

    Attributes:
        path: Folder, .zip or .csv.
        weight: Weight of each of its images in the loss; greater than 0.
        classes: Its class names and numbers.
    """

    path: Path
    weight: float = 1.0
    classes: ClassMap = NAMES_ONLY


def parse_source(text: str, classes: ClassMap = NAMES_ONLY) -> Source:
    """Parse `PATH` or `PATH@WEIGHT`.

    Args:
        text: Value of `--data`. A path that exists is taken as it is, with any `@` in it.
        classes: Class map of the source.

    Raises:
        TrainingError: The weight is not a number greater than 0.
    """
    match = _WEIGHTED.fullmatch(text)
    if Path(text).exists() or match is None:
        return Source(Path(text), 1.0, classes)
    try:
        weight = float(match["weight"])
    except ValueError:
        weight = float("nan")
    if not 0 < weight < float("inf"):
        raise TrainingError(
            f"--data {text}: expected PATH or PATH@WEIGHT with a weight greater than 0, for example"
            f" {match['path']}@0.5. Received: the weight {match['weight']!r}"
        )
    return Source(Path(match["path"]), weight, classes)


def parse_sources(texts: Sequence[str], class_maps: Sequence[str]) -> tuple[Source, ...]:
    """Parse all values of `--data` and `--classes`.

    Args:
        texts: Values of `--data`.
        class_maps: Values of `--classes`: none, one for all sources, or one for each source in its order.

    Raises:
        TrainingError: A value is not valid, or the numbers of values do not match.
    """
    maps = [load_class_map(name) for name in class_maps] or [NAMES_ONLY]
    if len(maps) == 1:
        maps *= len(texts)
    if len(maps) != len(texts):
        raise TrainingError(
            f"expected --classes once, or once for each --data ({len(texts)}) in the same order; `names` stands for"
            f" a source without numbers. Received: {len(maps)} values of --classes"
        )
    return tuple(parse_source(text, classes) for text, classes in zip(texts, maps, strict=True))
