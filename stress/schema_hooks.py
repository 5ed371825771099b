"""Extension of schemathesis, which loads the module that SCHEMATHESIS_HOOKS names."""

from __future__ import annotations

from typing import Any

import schemathesis

# The media type of Amazon's JSON protocol.
schemathesis.serializer.alias("application/x-amz-json-1.1", "application/json")

TIMEOUT_HEADERS = ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms")
MIN_TIMEOUT_MS = 30_000


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Remove short timeouts of the caller: a caller that waits for a millisecond gets a 504, as documented."""
    del context, kwargs
    headers: Any = case.headers or {}
    for name in TIMEOUT_HEADERS:
        value = str(headers.get(name, ""))
        if value.isdecimal() and int(value) < MIN_TIMEOUT_MS:
            del headers[name]
