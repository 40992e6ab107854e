"""A load over HTTP/1.1 that costs little itself: prepared bytes on kept connections, bounded in count."""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of requests took."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


async def post(
    url: str, path: str, headers: dict[str, str], body: Callable[[int], bytes], *, requests: int, connections: int
) -> Load:
    """POST `requests` bodies over `connections` connections; every answer must be 202."""
    parts = urlsplit(url)
    numbers = iter(range(requests))
    took: list[float] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            for number in numbers:
                content = body(number)
                lines = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                lines.append(f"Content-Length: {len(content)}")
                started = time.perf_counter()
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                answer = await reader.readexactly(length)
                took.append(time.perf_counter() - started)
                if not head.startswith(b"HTTP/1.1 202"):
                    raise RuntimeError(f"{path} answered {head[:60]!r} {answer[:200]!r}")
        finally:
            writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    seconds = time.perf_counter() - started
    ordered = sorted(took)
    return Load(requests, seconds, statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000)
