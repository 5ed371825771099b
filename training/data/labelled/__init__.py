"""Labelled sets that a user brings: folders, archives and CSV files of images, and FER2013.

Modules:
    load: `load_labelled`, the entry point.
    dataset: `LabelledData`, the result, and its splits.
    sources: `Source`, one value of `--data` with its weight and class map.
    classes: Class names and numbers of common data sets, mapped to the seven labels.
    listing: The files of a folder or an archive.
    folders, csv_table, fer2013_source: Readers of the layouts. Each returns labelled references to files.
    face_crops: Decoding and cropping of the files, as the service does it.
    hash_split: Split by content hash, where the data states no splits.
    near_duplicates: Exact and near duplicates across splits.
    audit: Counts, samples and groups, for `explore`.
    report: What the reader left out and why.
"""

from training.data.labelled.dataset import ALL, LabelledData, LabelledSplit, SplitName
from training.data.labelled.load import load_labelled, with_validation
from training.data.labelled.references import parse_split
from training.data.labelled.report import BadFile, DuplicatePair, LoadReport
from training.data.labelled.sources import Source, parse_source, parse_sources

__all__ = [
    "ALL",
    "BadFile",
    "DuplicatePair",
    "LabelledData",
    "LabelledSplit",
    "LoadReport",
    "Source",
    "SplitName",
    "load_labelled",
    "parse_source",
    "parse_sources",
    "parse_split",
    "with_validation",
]
