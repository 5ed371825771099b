"""Annotator votes, and the second head that learns them."""

from __future__ import annotations

import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from app.contract.labels import LABELS
from app.contract.manifest import load_manifest
from app.inference.session import EmotionSession
from tests.support.datasets import VOTES_HEADER, tiny_config, tiny_dataset, write_votes
from training import cli
from training.architectures.heads import Head, build_with_heads, single_head
from training.cli import options
from training.data.annotator_votes import NO_MAJORITY, AnnotatorVotes
from training.data.expected_labels import expected_labels
from training.data.fer2013 import Fer2013, Split
from training.errors import TrainingError
from training.evaluation.evaluate import record
from training.export.card import model_card
from training.export.export import export
from training.fit.run_folder import RunFolder
from training.fit.targets import build_targets
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")


@pytest.fixture
def votes(tmp_path) -> AnnotatorVotes:
    rows = {
        "clear": "0,9,1,0,0,0,0,0,0,0",
        "split": "5,0,0,5,0,0,0,0,0,0",
        "contempt": "3,0,0,0,0,0,0,7,0,0",
        "no face": "0,0,0,0,0,0,0,0,0,10",
        "doubtful": "3,0,0,3,0,0,0,0,4,0",
    }
    return AnnotatorVotes(write_votes(tmp_path / "votes.csv", rows))


def test_votes_majority_follows_the_rules_of_fer_plus(votes):
    found = votes.of(["clear", "split", "contempt", "no face", "doubtful", "without votes"]).majority()
    assert list(found) == [LABELS.index("happy")] + [NO_MAJORITY] * 5


def test_votes_targets_are_shares_of_the_seven_without_single_votes(votes):
    shares, weights = votes.of(["clear", "split", "contempt", "no face", "doubtful", "without votes"]).targets()
    assert list(weights) == [1, 1, 0, 0, 1, 0]
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares[0, LABELS.index("happy")] == 1
    assert shares[1, [LABELS.index("neutral"), LABELS.index("sad")]] == pytest.approx([0.5, 0.5])
    assert shares[4, LABELS.index("neutral")] == pytest.approx(0.5)


def test_votes_of_other_names_are_refused(votes):
    with pytest.raises(TrainingError, match=r"folder edition.*row 000001"):
        votes.of(["row 000001"])


@pytest.mark.parametrize(
    ("header", "row", "sentence"),
    [
        (VOTES_HEADER.replace("neutral", "calm"), "1,2,3,4,5,6,7,8,9,0", "expected the columns"),
        (VOTES_HEADER, "1,2,3,4,5,6,7,8,9,many", "whole numbers of votes for image"),
        (VOTES_HEADER, "1,2,3,4,5,6,7,8,9,-2", "whole numbers of votes for image"),
        (VOTES_HEADER, "1,2", "whole numbers of votes for image"),
    ],
)
def test_votes_damaged_file_is_refused(tmp_path, header, row, sentence):
    with pytest.raises(TrainingError, match=sentence):
        AnnotatorVotes(write_votes(tmp_path / "votes.csv", {"image": row}, header))


def test_votes_missing_empty_or_binary_file_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="cannot be read"):
        AnnotatorVotes(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TrainingError, match="no row"):
        AnnotatorVotes(tmp_path / "empty.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainingError, match="not a readable CSV"):
        AnnotatorVotes(tmp_path / "binary.csv")


def two_heads_config():
    """A config that learns both sets of labels of `contrary` well."""
    return tiny_config(
        annotator_votes={"loss_weight": 1.0},
        epochs=15,
        ema_momentum=None,
        augment={},
        model={"architecture": "vgg", "widths": [8, 16]},
        optimizer={"learning_rate": 0.01},
        loss={},
    )


@pytest.fixture(scope="module")
def contrary(tmp_path_factory) -> tuple[Fer2013, AnnotatorVotes]:
    """A dataset, and annotators who give every image the label after its own."""
    dataset = tiny_dataset()
    named = {
        split: type(data)(data.images, data.labels, tuple(f"{split}/{name}" for name in data.names))
        for split, data in dataset.splits.items()
    }
    columns = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    order = VOTES_HEADER.split(",")[1:]
    rows = {}
    for data in named.values():
        for name, label in zip(data.names, data.labels, strict=True):
            voted = columns[(int(label) + 1) % len(columns)]
            rows[name] = ",".join("10" if column == voted else "0" for column in order)
    path = write_votes(tmp_path_factory.mktemp("votes") / "votes.csv", rows)
    return Fer2013(named, dataset.sha256), AnnotatorVotes(path)


@pytest.fixture(scope="module")
def run(contrary, tmp_path_factory) -> RunFolder:
    dataset, votes = contrary
    folder = RunFolder(tmp_path_factory.mktemp("annotators") / "run")
    train(two_heads_config(), dataset, folder, votes)
    return folder


def test_annotators_head_learns_the_votes_and_the_other_head_the_labels(run, contrary, tmp_path):
    dataset, votes = contrary
    public = dataset[Split.PUBLIC_TEST]
    answers = {}
    for head in Head:
        path = tmp_path / f"{head.name.lower()}.onnx"
        export(run, dataset, path, votes, head)
        answers[head] = EmotionSession(path, "cpu", threads=1).logits(public.images).argmax(axis=1)
    # Chance is one in seven; the labels and the votes never agree, so no network is right in both.
    assert (answers[Head.ORIGINAL] == public.labels).mean() > 0.5
    assert (answers[Head.ANNOTATORS] == (public.labels + 1) % len(LABELS)).mean() > 0.5


def test_annotators_model_records_its_labels_and_is_measured_against_them(run, contrary, tmp_path):
    dataset, votes = contrary
    path = tmp_path / "annotators.onnx"
    export(run, dataset, path, votes, Head.ANNOTATORS)
    manifest = record(path, dataset, [Split.PUBLIC_TEST, Split.PRIVATE_TEST], votes)
    assert manifest == load_manifest(path)
    assert manifest.provenance.learned_labels == "annotators"
    assert manifest.provenance.dataset["votes"]["sha256"] == votes.sha256
    assert manifest.annotator_metrics["PrivateTest"].accuracy > 0.5 > manifest.metrics["PrivateTest"].accuracy
    assert set(manifest.annotator_metrics) == {"PublicTest", "PrivateTest", "PublicTest+PrivateTest"}
    assert max(manifest.robustness.values()) > 0.5
    card = model_card(manifest)
    assert f"**{manifest.annotator_metrics['PrivateTest'].accuracy:.2%}**" in card
    assert "--head annotators" in card


def test_annotators_head_is_in_the_history_and_needs_votes(run, contrary, tmp_path):
    dataset, _ = contrary
    assert "val_annotator_accuracy" in run.history.read_text()
    with pytest.raises(TrainingError, match="--votes"):
        train(two_heads_config(), dataset, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(TrainingError, match="--votes"):
        export(run, dataset, tmp_path / "annotators.onnx", None, Head.ANNOTATORS)


def test_loss_weight_of_the_votes_changes_the_body(contrary, tmp_path):
    dataset, votes = contrary
    bodies = []
    for weight in (0.001, 10.0):
        folder = RunFolder(tmp_path / str(weight))
        config = tiny_config(epochs=1, annotator_votes={"loss_weight": weight})
        train(config, dataset, folder, votes)
        model = build_with_heads(config)
        model.load_weights(folder.best_weights)
        bodies.append(model.get_layer("block1_conv1").get_weights()[0])
    assert np.abs(bodies[0] - bodies[1]).max() > 1e-4


def test_votes_without_weight_change_nothing(contrary, tmp_path):
    """Images without an emotion in the votes do not change the annotators' head."""
    dataset, _ = contrary
    unseen = dict.fromkeys(dataset[Split.TRAINING].names, "0,0,0,0,0,0,0,0,0,10")
    voted = {dataset[Split.PUBLIC_TEST].names[0]: "0,10,0,0,0,0,0,0,0,0"}
    votes = AnnotatorVotes(write_votes(tmp_path / "votes.csv", unseen | voted))
    folder = RunFolder(tmp_path / "run")
    config = tiny_config(epochs=1, ema_momentum=None, annotator_votes={}, optimizer={"learning_rate": 0.01})
    keras.utils.set_random_seed(config.seed)
    before = build_with_heads(config).get_layer(Head.ANNOTATORS).get_weights()
    train(config, dataset, folder, votes)
    model = build_with_heads(config)
    model.load_weights(folder.best_weights)
    np.testing.assert_allclose(model.get_layer(Head.ANNOTATORS).get_weights()[0], before[0], atol=1e-6)


def test_expected_labels_are_the_mean_label_of_images_with_the_same_votes(tmp_path):
    sure, unsure = "0,10,0,0,0,0,0,0,0,0", "5,0,0,5,0,0,0,0,0,0"
    names = [f"{kind} {number}" for kind in ("sure", "unsure") for number in range(400)]
    rows = {name: sure if name.startswith("sure") else unsure for name in names}
    votes = AnnotatorVotes(write_votes(tmp_path / "votes.csv", rows))
    happy, sad, neutral = (LABELS.index(label) for label in ("happy", "sad", "neutral"))
    labels = np.array([happy] * 400 + ([sad] * 3 + [neutral]) * 100)
    expected = expected_labels(votes.of([*names, "without votes"]), np.append(labels, happy))
    assert expected.shape == (801, 7)
    assert expected.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert expected[0, happy] > 0.95
    assert expected[400, [sad, neutral]] == pytest.approx([0.75, 0.25], abs=0.03)
    assert np.array_equal(expected[399], expected[0])
    assert np.array_equal(expected[800], np.eye(7)[happy])


def test_label_share_makes_the_target_of_an_unlikely_label_softer(contrary, tmp_path):
    """One image of 24 has another label than the images with its votes."""
    dataset, votes = contrary
    training = dataset[Split.TRAINING]
    labels = training.labels.copy()
    labels[0] = (labels[0] + 3) % len(LABELS)
    config = tiny_config(annotator_votes={"label_share": 0.5})
    targets = build_targets(config, replace(training, labels=labels), votes, RunFolder(tmp_path / "run"))
    original = targets.labels[Head.ORIGINAL.value]
    assert original.dtype == np.float32
    assert original.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert 0.5 < original[0, labels[0]] < 0.75
    assert original[0, training.labels[0]] > 0.25
    plain = build_targets(tiny_config(annotator_votes={}), training, votes, RunFolder(tmp_path / "run"))
    assert np.array_equal(plain.labels[Head.ORIGINAL.value], np.eye(7)[training.labels])


def test_label_share_with_whole_labels_is_refused():
    with pytest.raises(ValidationError, match=r"remove annotator_votes\.label_share"):
        tiny_config(loss={"name": "sparse"}, annotator_votes={"label_share": 0.5})


def test_single_head_that_was_not_trained_is_refused():
    with pytest.raises(TrainingError, match=r"without the head annotators.*It has: original"):
        single_head(build_with_heads(tiny_config()), Head.ANNOTATORS)


def test_votes_are_found_beside_the_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(options, "load_fer2013", lambda path: tiny_dataset())
    config = tmp_path / "votes.toml"
    config.write_text(
        'name = "c"\nseed = 1\nepochs = 1\nbatch_size = 16\n[model]\narchitecture = "vgg"\nwidths = [4]\n'
        "[optimizer]\nlearning_rate = 1e-3\n[annotator_votes]\nloss_weight = 1.0\n"
    )
    data = tmp_path / "elsewhere" / "fer2013.zip"
    arguments = ["training", "train", "--config", str(config), "--run", str(tmp_path / "run"), "--data", str(data)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert cli.main() == 2
    assert str(data.parent / "ferplus_votes.csv") in capsys.readouterr().err
