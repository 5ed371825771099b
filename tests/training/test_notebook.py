"""The notebook runs from the first cell to the last, without FER2013 and without a network."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.paths import REPOSITORY

NOTEBOOK = REPOSITORY / "training/notebooks/own_data.ipynb"
MAX_BYTES = 40_000


def texts(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Return what each cell prints, by the id of the cell."""
    return {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


@pytest.mark.slow
def test_notebook_goes_from_labelled_images_to_predictions(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source += f"\nFER2013, EPOCHS, WORK = Path('absent.zip'), 1, Path({str(tmp_path / 'work')!r})"
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    printed = texts(notebook)
    assert "train" in printed["explore"]
    assert "accuracy" in printed["evaluate"]
    assert "FER_MODEL=" in printed["tune"]
    assert printed["history"].startswith("epoch  1: loss")
    assert printed["serve"] == "The service has the model mine\n"
    assert printed["predict"].startswith("photograph: ")
    assert "exit status of the service: 0" in printed["stop"]


def test_stored_notebook_is_small_and_has_no_images():
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    assert "image/png" not in json.dumps(json.loads(NOTEBOOK.read_text()))
