"""Class names and numbers of common data sets, and their mapping to the seven labels."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.contract.labels import LABELS, Emotion
from training.errors import TrainingError

CONTEMPT = "contempt"  # a class of several data sets, and none of the seven labels

_SYNONYMS: Mapping[str, str] = {
    **{label: label for label in LABELS},
    **dict.fromkeys(("anger",), Emotion.ANGRY),
    **dict.fromkeys(("disgusted",), Emotion.DISGUST),
    **dict.fromkeys(("fearful", "scared", "afraid"), Emotion.FEAR),
    **dict.fromkeys(("happiness", "joy"), Emotion.HAPPY),
    **dict.fromkeys(("sadness",), Emotion.SAD),
    **dict.fromkeys(("surprised",), Emotion.SURPRISE),
    CONTEMPT: CONTEMPT,
}
# Source: Li et al., "Reliable Crowdsourcing and Deep Locality-Preserving Learning", 2017 (readme of RAF-DB).
_RAFDB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
# Source: Mollahosseini et al., "AffectNet", 2017. 8 to 10 are none, uncertain and no face.
_AFFECTNET = (
    "neutral",
    "happy",
    "sad",
    "surprise",
    "fear",
    "disgust",
    "angry",
    CONTEMPT,
    "none",
    "uncertain",
    "no-face",
)
_NUMBERED: Mapping[str, Mapping[str, str]] = {
    "rafdb": {str(number): label for number, label in enumerate(_RAFDB, start=1)},
    "affectnet": {str(number): label for number, label in enumerate(_AFFECTNET)},
}


@dataclass(frozen=True)
class ClassMap:
    """Mapping of the class names and numbers of one data set.

    Attributes:
        name: For messages.
        names: Normalised name or number in the data -> label, or the name of a class that is none of the labels.
    """

    name: str
    names: Mapping[str, str] = field(default_factory=lambda: _SYNONYMS)

    def class_of(self, text: str) -> str:
        """Return the label of a class name, or the normalised name if it is none of the seven labels."""
        key = normalise(text)
        return str(self.names.get(key, key))


NAMES_ONLY = ClassMap("names")


def normalise(text: str) -> str:
    """Return a class name in lower case without spaces around it; `3.0`, as pandas writes numbers, becomes `3`."""
    key = text.strip().lower()
    number = re.fullmatch(r"0*(\d+)(\.0+)?", key)
    return number[1] if number else key


def load_class_map(name: str) -> ClassMap:
    """Return a class map by name, or read it from a TOML file.

    Args:
        name: `names`, `rafdb`, `affectnet`, or a TOML file with a table `[classes]`: name or number = label.

    Raises:
        TrainingError: The name is unknown, or the file is not valid.
    """
    if name == NAMES_ONLY.name:
        return NAMES_ONLY
    if name in _NUMBERED:
        return ClassMap(name, {**_SYNONYMS, **_NUMBERED[name]})
    if not name.lower().endswith(".toml"):
        raise TrainingError(
            f"--classes: expected names, {', '.join(_NUMBERED)} or a .toml file with a table [classes]."
            f" Received: {name}"
        )
    return ClassMap(name, {**_SYNONYMS, **_read_table(Path(name))})


def _read_table(path: Path) -> dict[str, str]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TrainingError(f"--classes {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"--classes {path} is not a valid TOML file: {error}") from error
    table = document.get("classes")
    if not isinstance(table, dict) or not table or document.keys() != {"classes"}:
        raise TrainingError(
            f'--classes {path}: expected one table [classes] with lines such as 1 = "surprise".'
            f" Received: {', '.join(document) or 'an empty file'}"
        )
    for key, label in table.items():
        if label not in LABELS:
            raise TrainingError(
                f"--classes {path}: expected one of {', '.join(LABELS)} for {key!r}. Received: {label!r}."
                " To leave a class out, use --drop and no line here."
            )
    return {normalise(key): str(label) for key, label in table.items()}


def check_classes(found: Collection[str], classes: ClassMap, drop: Collection[str], source: Path) -> None:
    """Refuse classes that are neither labels nor dropped.

    Args:
        found: Results of `ClassMap.class_of`, one for each image.
        classes: The class map of the source.
        drop: Classes to leave out, normalised.
        source: For the message.

    Raises:
        TrainingError: The message lists the classes and says how to map or drop them.
    """
    unknown = {name: count for name, count in Counter(found).items() if name not in LABELS and name not in drop}
    if not unknown:
        return
    listed = ", ".join(f"{name!r} ({count})" for name, count in sorted(unknown.items()))
    numbers = [name for name in unknown if name.isdigit()]
    way = (
        " Numbers mean other classes in each data set: say which with --classes rafdb or --classes affectnet, or map"
        ' them in a TOML file, --classes my.toml: [classes], then lines such as 1 = "surprise".'
        if numbers and classes.name not in _NUMBERED
        else ' Map a class in a TOML file, --classes my.toml: [classes], then lines such as "calm" = "neutral".'
    )
    raise TrainingError(
        f"{source} has classes that are none of the labels. Expected: {', '.join(LABELS)} (class map: {classes.name})."
        f" Received, with images: {listed}.{way} Leave a class out with --drop {min(unknown)}."
    )
