"""Measure face detectors on photographs, on changed copies of them and on pictures without a face.

Modules:
    __main__: Command line and table, `python -m benchmarks.detection`.
    detectors: The detectors that can be measured, also of another checkout.
    cases: Pictures with known faces, and the count of found faces and false boxes.
    changes: Changed copies: turned, darker, smaller, long.
    figures: The rows of the table.
    speed: CPU time per picture of several detectors in one run.
"""
