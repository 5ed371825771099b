"""What the reader of labelled sets left out, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

_SHOWN = 10


@dataclass(frozen=True)
class BadFile:
    """A file or a row that cannot be used.

    Attributes:
        path: Name of the file, or of the row of a CSV.
        reason: A sentence: what was expected and what was received.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class DuplicatePair:
    """An image that was left out, because another split has the same picture.

    Attributes:
        left_out: File name of the image that was left out, and its split.
        kept: File name of the image that stays, and its split.
        exact: True for identical crops, False for similar ones (perceptual hash).
        other_label: Whether the two images have different labels.
    """

    left_out: str
    kept: str
    exact: bool
    other_label: bool


@dataclass(frozen=True)
class LoadReport:
    """Result of reading labelled sets, beside the images.

    Attributes:
        bad_files: Files and rows that cannot be used.
        duplicates: Images that were left out, because a later split (test before validation before train) has them.
        duplicates_within: Surplus images with identical crops within a split. They stay.
        notes: Sentences about decisions of the reader: splits, missing classes, images with several faces.
    """

    bad_files: tuple[BadFile, ...] = ()
    duplicates: tuple[DuplicatePair, ...] = ()
    duplicates_within: int = 0
    notes: tuple[str, ...] = ()

    def with_note(self, note: str) -> LoadReport:
        """Return the report with one more note."""
        return replace(self, notes=(*self.notes, note))

    def text(self) -> str:
        """Return the report as lines for the terminal. Long lists are cut; `bad_files` has all."""
        lines = list(self.notes)
        if self.bad_files:
            lines.append(f"Left out because they cannot be used: {len(self.bad_files)} files or rows.")
            lines += _cut([f"{bad.path}: {bad.reason}" for bad in self.bad_files])
        if self.duplicates:
            exact = sum(pair.exact for pair in self.duplicates)
            conflicting = sum(pair.other_label for pair in self.duplicates)
            lines.append(
                f"Left out because another split has the picture: {len(self.duplicates)} images ({exact} identical,"
                f" {len(self.duplicates) - exact} similar; {conflicting} with another label)."
            )
            lines += _cut([f"{pair.left_out} = {pair.kept}" for pair in self.duplicates])
        if self.duplicates_within:
            lines.append(f"Kept although their own split has the picture too: {self.duplicates_within} images.")
        return "\n".join(lines)


def _cut(rows: list[str]) -> list[str]:
    more = [f"  ... and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
    return [f"  - {row}" for row in rows[:_SHOWN]] + more
