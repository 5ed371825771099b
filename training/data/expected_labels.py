"""The labels that the annotator votes of an image lead to expect.

FER2013 has one label for an image, and another labeller would often have chosen another: the votes of ten annotators
say how often. The mean label of the images with similar votes is a target with less chance in it than one label.

Reference:
    Lopez-Paz et al., "Unifying Distillation and Privileged Information", 2016: a teacher that sees what the student
    will not see in use, here the votes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from app.contract.labels import LABELS
from training.data.annotator_votes import SplitVotes


def expected_labels(votes: SplitVotes, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the probability of each label given the votes, by a logistic regression on the images themselves.

    Args:
        votes: Votes for Training.
        labels: Codes int64 (N,) of the same images.

    Returns:
        float32 (N, 7); rows sum to 1. An image without votes has its own label.
    """
    expected = np.eye(len(LABELS), dtype=np.float32)[labels]
    sums = votes.counts.sum(axis=1)
    known = sums > 0
    shares = votes.counts[known] / sums[known, np.newaxis]
    # The square root tells a few votes from none.
    features = np.concatenate([shares, np.sqrt(shares)], axis=1)
    regression = LogisticRegression(max_iter=1000).fit(features, labels[known])
    expected[np.ix_(known, regression.classes_)] = regression.predict_proba(features)
    return expected
