"""The native HTTP and WebSocket API: admission, request parsing, routes, schemas, errors."""
