"""The HTTP client of the stress tests, against a server in the process of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from stress.client import Answer, Client, open_loop, percentile, post

REQUEST = post("/a", b"body")


def run(scenario: Callable[[Client], Awaitable[list[Answer]]], response: bytes) -> tuple[list[Answer], int]:
    """Return the answers of a scenario and the number of connections that it opened."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readexactly(len(REQUEST))
                writer.write(response)
                if not response:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed the connection
        finally:
            writer.close()

    async def main() -> list[Answer]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Client(server.sockets[0].getsockname()[1])
        answers = await scenario(client)
        client.close()
        server.close()
        return answers

    return asyncio.run(main()), connections


async def send_twice(client: Client) -> list[Answer]:
    return [await client.send(REQUEST), await client.send(REQUEST)]


def test_answers_have_status_headers_and_body_over_one_connection():
    answers, connections = run(send_twice, b"HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}")
    assert [(answer.status, answer.headers["retry-after"], answer.json()) for answer in answers] == [(503, "1", {})] * 2
    assert connections == 1


def test_connection_that_the_server_closes_is_not_used_again():
    answers, connections = run(send_twice, b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert [answer.status for answer in answers] == [200, 200]
    assert connections == 2


def test_lost_connection_has_the_status_0():
    answers, _ = run(send_twice, b"")
    assert [answer.status for answer in answers] == [0, 0]


def test_open_loop_sends_at_its_rate_whatever_the_answers_are():
    async def scenario(client: Client) -> list[Answer]:
        return await open_loop(client, iter([REQUEST] * 100), rate=50, seconds=0.3)

    answers, _ = run(scenario, b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")
    assert 5 <= len(answers) <= 16  # fewer than 15 if the machine is busy


@pytest.mark.parametrize(("share", "value"), [(0, 1.0), (0.5, 3.0), (0.99, 4.0), (1, 4.0)])
def test_percentile_of_values(share, value):
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value
    assert percentile([], share) == 0
