"""nginx and HAProxy in front of a service, for tests that skip without them."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.network import free_port
from tests.support.waiting import wait_until

_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
  access_log off; client_max_body_size 100m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream kept {{ server 127.0.0.1:{port}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{listen};
    location / {{ proxy_pass http://127.0.0.1:{port}; }}
    location /unbuffered/ {{
      proxy_pass http://127.0.0.1:{port}/; proxy_request_buffering off; proxy_http_version 1.1;
    }}
    location /faces/ {{
      proxy_pass http://kept/; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""
_HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend public
  bind 127.0.0.1:{listen}
  default_backend replicas
backend replicas
  server replica 127.0.0.1:{port}
"""


def is_installed(name: str) -> bool:
    """Return whether a program is installed."""
    return shutil.which(name) is not None


@contextmanager
def proxy(name: str, port: int, folder: Path) -> Iterator[str]:
    """Start `nginx` or `haproxy` in front of a port; yield its URL.

    nginx has three locations: `/` with its defaults (HTTP/1.0, buffered), `/unbuffered/`, and `/faces/` with kept
    connections and forwarded addresses.
    """
    listen = free_port()
    configuration = folder / f"{name}.conf"
    template = _NGINX if name == "nginx" else _HAPROXY
    configuration.write_text(template.format(folder=folder, port=port, listen=listen))
    option = ["-c", str(configuration), "-p", str(folder)] if name == "nginx" else ["-f", str(configuration)]
    process = subprocess.Popen([name, *option], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _accepts(listen))
        yield f"http://127.0.0.1:{listen}"
    finally:
        process.terminate()
        process.wait(10)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
