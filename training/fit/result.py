"""The report of a finished run: its weights measured on PublicTest."""

from __future__ import annotations

from typing import Any

from training.architectures.heads import Head, build_with_heads
from training.config import TrainConfig
from training.data.splits import Split, SplitData
from training.evaluation import plots
from training.evaluation.metrics import measure
from training.evaluation.text_report import classification_table
from training.files import write_json
from training.fit.epoch import predict
from training.fit.run_folder import RunFolder, RunState


def report_result(config: TrainConfig, validation: SplitData, run: RunFolder, state: RunState) -> None:
    """Measure the weights that the run is for on PublicTest, at the size of the face crop."""
    # A model without an optimiser: the file has the optimiser of the best epoch, which may differ from the last one.
    result = build_with_heads(config)
    result.load_weights(run.result_weights)
    logits = predict(result, validation.images)[Head.ORIGINAL.value]
    measured = measure(logits, validation.labels, temperature=1.0)
    report: dict[str, Any] = {
        "best_epoch": state.best_epoch + 1,
        "averaged_epochs": config.averaged_epochs,
        "wall_s": state.wall_s,
        Split.PUBLIC_TEST: measured.model_dump(mode="json"),
    }
    write_json(run.report, report)
    title = f"Validation, epoch {state.best_epoch + 1}"
    if config.averaged_epochs is not None:
        title = f"Validation, mean of epochs {config.first_averaged_epoch + 1} to {config.epochs}"
    plots.plot_confusion(measured.confusion, title, run.path / "confusion_matrix.png")
    print(classification_table(measured))
