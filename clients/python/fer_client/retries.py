"""Retry policy of the clients."""

from __future__ import annotations

import random
from dataclasses import dataclass

# A prediction does not change the state of the service, so a repeated request is safe.
RETRIED_STATUSES = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Attributes:
        attempts: Maximum number of requests, including the first; 1 disables retries.
        backoff_s: Upper bound of the first wait in seconds; the bound doubles with every attempt.
        max_wait_s: Upper bound of every wait in seconds, including the wait that the service requests.

    Reference:
        Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int = 4
    backoff_s: float = 0.25
    max_wait_s: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.backoff_s < 0 or self.max_wait_s < 0:
            raise ValueError(f"attempts must be at least 1 and waits must not be negative. Received: {self}")

    def wait_s(self, attempt: int, retry_after: str | None) -> float:
        """Return the wait before the next attempt.

        Args:
            attempt: Number of the failed attempt, from 1.
            retry_after: Value of the `Retry-After` header. Only a number of seconds is used; dates are ignored.

        Returns:
            Seconds: the requested wait plus a random time up to the current backoff.
        """
        requested = float(retry_after) if retry_after is not None and retry_after.strip().isdecimal() else 0.0
        jitter = random.uniform(0, self.backoff_s * 2 ** (attempt - 1))  # noqa: S311  (not a secret)
        return min(requested + jitter, self.max_wait_s)
