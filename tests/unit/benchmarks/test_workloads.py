"""The requests of the workloads."""

from __future__ import annotations

import re

from benchmarks.workloads import FACES, FORMS, PORTRAITS, load_workloads


def test_every_request_form_has_the_length_of_its_body(tmp_path):
    file = load_workloads(tmp_path, only=[PORTRAITS])[PORTRAITS].files[0]
    for build in FORMS.values():
        head, _, body = build(file, True).partition(b"\r\n\r\n")
        assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(body)
        assert head.startswith(b"POST /predict HTTP/1.1")
        assert build(file, False).startswith(b"POST /predict?detect=false HTTP/1.1")


def test_workloads_without_their_files_are_left_out(tmp_path):
    assert list(load_workloads(tmp_path, only=[PORTRAITS, FACES, "photographs", "groups"])) == [PORTRAITS, FACES]
