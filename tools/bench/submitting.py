"""`POST /api/tasks` to 202, beside a bare FastAPI handler doing one PostgreSQL insert, interleaved."""

import asyncio
import json
import socket
import sys
from contextlib import closing
from typing import Final

from tools.bench.load import Load, post
from tools.bench.stack import Bench, bare_table

REQUESTS: Final = 600
CONNECTIONS: Final = 16
_BODY: Final = {
    "requirements": "Return the sum of two numbers",
    "signature": "def add(a: int, b: int) -> int:",
    "examples": [{"args": [1, 2], "expected": 3}, {"args": [2, 2], "expected": 4}],
}


async def measure(bench: Bench, runs: int) -> list[tuple[Load, Load]]:
    """Return (Grace, bare) pairs, measured in turn."""
    settings = bench.settings("gateway")
    pool = await bare_table(settings)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dsn = settings.database_url.get_secret_value()
    bare = await asyncio.create_subprocess_exec(sys.executable, "-m", "tools.bench.bare", str(port), dsn)
    try:
        await _until_listening(port)
        pairs = []
        headers = {"Authorization": f"Bearer {bench.key('ada')}"}
        for run in range(runs + 1):  # the first pair only warms up
            await bench.until_quiet()
            ours = await post(bench.url, "/api/tasks", headers, _body(run), requests=REQUESTS, connections=CONNECTIONS)
            await bench.until_quiet()
            theirs = await post(
                f"http://127.0.0.1:{port}", "/tasks", {}, _body(run), requests=REQUESTS, connections=CONNECTIONS
            )
            pairs.append((ours, theirs))
        return pairs[1:]
    finally:
        bare.terminate()
        await bare.wait()
        await pool.execute("DROP TABLE bare")
        await pool.close()


def _body(run: int):  # type: ignore[no-untyped-def]
    def body(number: int) -> bytes:
        return json.dumps(_BODY | {"requirements": f"Return the sum of two numbers, {run}/{number}"}).encode()

    return body


async def _until_listening(port: int) -> None:
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise RuntimeError("the bare handler does not start")
