"""The assignment of samples to parts of the program."""

from __future__ import annotations

from benchmarks.cpu_profile import OTHER, shares_of


def test_sample_belongs_to_the_innermost_frame_with_a_known_part():
    folded = [
        "main (app/__main__.py:1);run (uvicorn/server.py:2);predict (app/engine/pipeline.py:3);"
        "decode (app/vision/decode.py:4) 6",
        "main (app/__main__.py:1);run (uvicorn/server.py:2);predict (app/engine/pipeline.py:3) 1",
        "main (app/__main__.py:1);run (uvicorn/server.py:2) 2",
        "start (elsewhere.py:1) 1",
        "start (elsewhere.py:1);_worker (concurrent/futures/thread.py:81) 90",
    ]
    assert shares_of(folded) == {"decode": 0.6, "engine": 0.1, "uvicorn, sockets": 0.2, OTHER: 0.1}
