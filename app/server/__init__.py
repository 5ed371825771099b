"""The process: uvicorn's protocol with header limits, graceful drain, allocator, threads and CPU count."""
