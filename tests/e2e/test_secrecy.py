"""The process writes nothing to disk, and logs neither secrets nor predictions."""

from __future__ import annotations

import base64
import json
import re
import signal
from pathlib import Path

import pytest

from tests.support.images import ASTRONAUT
from tests.support.process import service_process

KEY, ADMIN_KEY = "secret-api-key", "secret-admin-key"

# Like `python -m app`; prints each file that Python opens for writing, creates, moves or removes.
AUDITED_SERVICE = """
import os, sys
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "tempfile.mkstemp",
           "tempfile.mkdtemp", "shutil.copyfile", "shutil.move", "sqlite3.connect"}
def audit(event, arguments):
    if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES):
        os.write(2, f"AUDIT {event} {arguments[0]!r}\\n".encode())
sys.addaudithook(audit)
import app.__main__
app.__main__._leave(app.__main__.main())
"""


def written_bytes(pid: int) -> int:
    """Return the number of bytes that the process has written to disks, including those of C libraries."""
    found = re.search(r"^write_bytes: (\d+)$", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system has no /proc/PID/io")
def test_nothing_is_written_and_nothing_secret_is_logged(tmp_path):
    photo = ASTRONAUT.read_bytes()
    large = photo + bytes(3_000_000)  # decoders ignore trailing bytes; above every limit for uploads in memory
    base64_photo = base64.b64encode(photo).decode()
    keys = {"FER_API_KEYS": KEY, "FER_ADMIN_KEYS": ADMIN_KEY}
    with service_process(AUDITED_SERVICE, TMPDIR=str(tmp_path), **keys) as (client, process):
        client.headers["X-API-Key"] = KEY
        before = written_bytes(process.pid)
        responses = [client.post("/predict", content=data) for data in (photo, large)]
        responses.append(client.post("/predict", files={"file": ("a.jpg", large, "image/jpeg")}))
        responses.append(client.post("/predict/batch", files=[("file", ("a.jpg", large))] * 2))
        responses.append(client.post("/predict", json={"image": base64_photo}))
        assert [response.status_code for response in responses] == [200] * 5
        assert client.post("/predict", content=photo[:5000]).status_code == 422
        assert client.post("/predict", json={"image": "!" + base64_photo}).status_code == 400
        assert client.post("/predict", content=photo, headers={"X-API-Key": KEY + "x"}).status_code == 401
        bearer = {"Authorization": f"Bearer {ADMIN_KEY}"}
        del client.headers["X-API-Key"]
        assert client.post("/admin/reload", headers=bearer).status_code == 200
        assert written_bytes(process.pid) == before
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        log = process.stderr.read()
    assert list(tmp_path.iterdir()) == []
    assert [line for line in log.splitlines() if line.startswith("AUDIT") and "/dev/null" not in line] == []
    lines = [json.loads(line) for line in log.splitlines() if not line.startswith("AUDIT")]
    assert any(line.get("status") == 200 for line in lines)  # the log is not empty
    for secret in (KEY, ADMIN_KEY, base64_photo[:40], base64_photo[100:140]):
        assert secret not in log
    face = responses[0].json()["faces"][0]
    for line in lines:
        text = line["message"] + "".join(line.keys())
        assert not any(word in text for word in ("happy", "confidence", "scores", "box"))
        assert str(face["confidence"]) not in line["message"]
