"""When to ask again, and after how long. Knows no HTTP library."""

from __future__ import annotations

import random
from dataclasses import dataclass

# A prediction changes nothing in the service, so every one of these can be asked for again.
RETRIED_STATUSES = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Attributes:
        attempts: Requests in all, the first one included; 1 never retries.
        base_s: Upper bound of the first wait; it doubles with every attempt.
        longest_s: No wait is longer, whatever the service asks for.

    Reference:
        Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int = 4
    base_s: float = 0.25
    longest_s: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base_s < 0 or self.longest_s < 0:
            raise ValueError(f"attempts must be at least 1 and waits at least 0. Received: {self}")

    def wait_s(self, attempt: int, retry_after: str | None) -> float:
        """How long to wait after a failure.

        Args:
            attempt: The one that failed, from 1.
            retry_after: The answer's header, in seconds; dates and nonsense count as none.

        Returns:
            Seconds: random up to the doubled base, on top of what the service asked for.
        """
        asked = float(retry_after) if retry_after is not None and retry_after.strip().isdecimal() else 0.0
        jitter = random.uniform(0, self.base_s * 2 ** (attempt - 1))  # noqa: S311  (no secret)
        return min(asked + jitter, self.longest_s)
