"""The seven emotions in FER2013 code order: the only list of labels in the repository."""

from __future__ import annotations

from enum import StrEnum


class Emotion(StrEnum):
    """Apparent expressions in FER2013 code order (0 = angry ... 6 = neutral).

    The folder edition of FER2013 sorts alphabetically, so readers map labels by name, never by folder order.

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
