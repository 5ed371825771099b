"""The seven emotions in FER2013 code order: the only list of labels in the repository."""

from __future__ import annotations

from enum import StrEnum


class Emotion(StrEnum):
    """Apparent expressions in FER2013 code order (0 = angry ... 6 = neutral).

    Folder names of the image edition sort differently; labels always travel by name.

    Reference:
        Goodfellow et al., "Challenges in Representation Learning", 2013 (the `emotion` column).
    """

    ANGRY = "angry"
    DISGUST = "disgust"
    FEAR = "fear"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    NEUTRAL = "neutral"


LABELS: tuple[str, ...] = tuple(emotion.value for emotion in Emotion)
