"""The seven emotions in FER2013 code order: the only list of labels in the repository."""

from __future__ import annotations

from enum import StrEnum


class Emotion(StrEnum):
    """Apparent expressions in FER2013 code order (0 = angry ... 6 = neutral)."""

    # Source: Goodfellow et al., "Challenges in Representation Learning", 2013 (the `emotion` column). The folder
    # edition of FER2013 has alphabetical order, so readers map labels by name, never by the order of folders.
    ANGRY = "angry"
    DISGUST = "disgust"
    FEAR = "fear"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    NEUTRAL = "neutral"


LABELS: tuple[str, ...] = tuple(emotion.value for emotion in Emotion)
