"""The memory for the bodies and messages of all callers. `app.api.admission.Admission` owns the budget."""

from __future__ import annotations

from app.errors import ErrorCode, FerError


class ByteBudget:
    """The memory for the bodies of all requests in progress.

    Args:
        max_bytes: Largest sum of their sizes in bytes.

    Attributes:
        held_bytes: Sum of the sizes now.
    """

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes = max_bytes
        self.held_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count bytes until `give`.

        Raises:
            FerError: `overloaded`.
        """
        if self.held_bytes + size_bytes > self._max_bytes:
            raise FerError(
                ErrorCode.OVERLOADED,
                f"the requests in progress hold {self.held_bytes} of {self._max_bytes} bytes, and this request needs"
                f" {size_bytes} more; try again shortly",
            )
        self.held_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Stop counting bytes."""
        self.held_bytes -= size_bytes


class HeldBytes:
    """The memory for one body or message.

    Args:
        budget: Memory for all of them.
    """

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """Hold memory for at least this size, until `release`.

        Args:
            size_bytes: Size that the caller declared, or that has arrived so far.

        Raises:
            FerError: `overloaded`.
        """
        if size_bytes > self._held_bytes:
            self._budget.take(size_bytes - self._held_bytes)
            self._held_bytes = size_bytes

    def release(self) -> None:
        """Give the memory back."""
        self._budget.give(self._held_bytes)
        self._held_bytes = 0
