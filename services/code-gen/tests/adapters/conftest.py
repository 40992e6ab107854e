"""Servers that adapters meet: handwritten, on loopback, each on a free port."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Answering:
    """An HTTP server that answers every request in turn, the last answer for ever; it keeps what it was asked."""

    answers: list[tuple[int, str | Mapping[str, Any]]]
    url: str = ""
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))))
            self.asked.append((first.split(" ")[1], headers, body))
            status, content = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            text = content if isinstance(content, str) else json.dumps(content)
            kind = "text/html" if isinstance(content, str) and content.startswith("<") else "application/json"
            writer.write(
                f"HTTP/1.1 {status} Whatever\r\ncontent-type: {kind}\r\nretry-after-ms: 1\r\nconnection: close\r\n"
                f"content-length: {len(text.encode())}\r\n\r\n{text}".encode()
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()


@pytest.fixture
def answering() -> Callable[..., Any]:
    """Return a context manager that runs such a server: `async with answering((200, {…})) as server`."""

    @asynccontextmanager
    async def running(*answers: tuple[int, str | Mapping[str, Any]]) -> AsyncIterator[Answering]:
        answer = Answering(list(answers))
        server = await asyncio.start_server(answer.serve, "127.0.0.1", 0)
        answer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield answer
        finally:
            server.close()

    return running
