"""Load that takes much memory: slow uploads of large bodies in every form, and large images at the same time.

    python3 tests/e2e/memory_load.py URL [options]

Needs the standard library only. Prints the number of responses of each status.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

FORMS = ("raw", "multipart", "json", "batch", "chunked")
PIECE_BYTES = 64 * 1024
END_S = 30
MIN_BYTES = 1000


def request(form: str, size: int) -> tuple[str, list[bytes], bytes]:
    """Return the path, the header lines and a body of a size."""
    if form == "multipart":
        start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        end = b"\r\n--b--\r\n"
        return (
            "/predict",
            [b"Content-Type: multipart/form-data; boundary=b"],
            start + bytes(size - len(start + end)) + end,
        )
    if form == "json":
        return "/predict", [b"Content-Type: application/json"], b'{"image": "' + b"A" * ((size - 13) // 4 * 4) + b'"}'
    if form == "batch":
        text = base64.b64encode(bytes((size // 20 * 3) // 4 // 3 * 3)).decode()
        return "/predict/batch", [b"Content-Type: application/json"], json.dumps({"images": [text] * 19}).encode()
    return "/predict", [b"Content-Type: image/jpeg"], bytes(size)


async def upload(host: str, port: int, form: str, body: bytes, seconds: float, holds_last: bool) -> str:
    """Send one request at an even pace; return the status of its response."""
    path, headers, _ = request(form, MIN_BYTES)
    data = memoryview(body)
    is_chunked = form == "chunked"
    headers = [*headers, b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)]
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return type(error).__name__
    answer = asyncio.ensure_future(reader.readline())
    try:
        writer.write(b"\r\n".join([b"POST %s HTTP/1.1" % path.encode(), b"Host: x", *headers, b"", b""]))
        started = time.monotonic()
        end = len(body) - holds_last
        for at in range(0, end, PIECE_BYTES):
            piece = bytes(data[at : min(at + PIECE_BYTES, end)])
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
            await writer.drain()
            if answer.done():
                break
            await asyncio.sleep(max(0.0, started + seconds * at / len(body) - time.monotonic()))
        if is_chunked and not holds_last:
            writer.write(b"0\r\n\r\n")
        line = await asyncio.wait_for(answer, END_S)
        return line.split()[1].decode() if line else "closed"
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    finally:
        answer.cancel()
        writer.close()


async def stream(host: str, port: int, body: bytes, seconds: float) -> str:
    """Send one WebSocket message at an even pace, without its last byte; return how the stream ends."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        lines = [b"GET /ws HTTP/1.1", b"Host: x", b"Upgrade: websocket", b"Connection: Upgrade", key]
        writer.write(b"\r\n".join([*lines, b"Sec-WebSocket-Version: 13", b"", b""]))
        await reader.readuntil(b"\r\n\r\n")
        answer = asyncio.ensure_future(reader.read(1000))
        writer.write(b"\x82\xff" + len(body).to_bytes(8, "big") + bytes(4))  # binary, masked with 0
        started = time.monotonic()
        for at in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
            writer.write(body[at : at + PIECE_BYTES])
            await writer.drain()
            if answer.done():
                break
            await asyncio.sleep(max(0.0, started + seconds * at / len(body) - time.monotonic()))
        data = await asyncio.wait_for(answer, END_S)
        return "message" if data[:1] == b"\x81" else f"close code {int.from_bytes(data[2:4], 'big')}"
    except (OSError, EOFError, TimeoutError) as error:
        return type(error).__name__
    finally:
        writer.close()


async def main() -> None:
    """Run one phase."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--callers", type=int, default=150)
    parser.add_argument("--megabytes", type=float, default=0, help="size of the bodies; needed without --file")
    parser.add_argument("--file", type=Path, help="send this file instead")
    parser.add_argument("--seconds", type=float, default=4.0, help="duration of an upload")
    parser.add_argument("--form", choices=FORMS, help="one form; all forms in turn without it")
    parser.add_argument("--streams", action="store_true", help="send messages of streams")
    parser.add_argument("--hold-last-byte", action="store_true", help="never send the last byte")
    options = parser.parse_args()
    parts = urlsplit(options.url)
    size = int(options.megabytes * 1024 * 1024) - 4096
    host, port = parts.hostname or "", parts.port or 80
    if options.streams:
        work = [stream(host, port, bytes(size), options.seconds) for _ in range(options.callers)]
    else:
        if options.file is not None:
            bodies = {"raw": options.file.read_bytes()}
        else:
            bodies = {form: request(form, size)[2] for form in ([options.form] if options.form else FORMS)}
        forms = ([*bodies] * options.callers)[: options.callers]
        pace = (options.seconds, options.hold_last_byte)
        work = [upload(host, port, form, bodies[form], *pace) for form in forms]
    started = time.monotonic()
    answers = await asyncio.gather(*work)
    print(
        f"{len(answers)} callers in {time.monotonic() - started:.1f} s:",
        ", ".join(f"{status} {count}" for status, count in sorted(Counter(answers).items())),
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(main())
