"""No secret, and nothing of what people write, stands where it does not belong (docs/threat-model.md)."""

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx
import psutil
import pytest
from grace_common.contract.topics import IDENTITY, LEDGER, OPERATION, SERVICES, TOPICS, WITNESS

from tests.e2e.bus import Bus, Record
from tests.e2e.doors import Ledger, Person
from tests.e2e.leaks import Needle, files_below, leaks, leaks_in_memory, may_trace, secrets_of
from tests.e2e.outside import CONTENT, SECRET, planted
from tests.e2e.outsiders import enrol
from tests.e2e.patience import until
from tests.e2e.stack import POSTGRES, Stack
from tests.e2e.tasks import approve, receipt

SHOUT: Final[dict[str, Any]] = {
    "requirements": f"Return the text in capitals. {CONTENT} of the requirements",
    "signature": "def shout(text: str) -> str:",
    "examples": [
        {"args": [f"{CONTENT} of an example"], "expected": f"{CONTENT} of an example".upper()},
        {"args": ["abc"], "expected": "ABC"},
        {"args": [""], "expected": ""},
    ],
    "mode": "collaborative",
}
# Where what people write may not stand: what is published, what tells of the work, and what is told of it.
WITHOUT_CONTENT: Final = (OPERATION, LEDGER, IDENTITY, WITNESS)
BROKERS_OWN: Final = "kafka/server.properties"  # has the administrator's password, as brokers want it
TABLES_WITHOUT_CONTENT: Final = frozenset({"entry", "tile", "checkpoint", "announcement", "redaction"})


def test_no_secret_stands_where_it_does_not_belong(
    ada: Person, reviewer: Person, olga: Person, bus: Bus, ledger: Ledger, tmp_path: Path
) -> None:
    grace = ada.stack
    said = _live(ada, reviewer, olga, bus, ledger)
    needles = secrets_of(grace.home)
    content = [Needle("content", text.encode(), frozenset()) for text in (CONTENT, CONTENT.upper())]
    exported = grace.command("ledger", "export", str(tmp_path / "export"))
    assert exported.returncode == 0, exported.stderr
    found: list[str] = []

    shown = {f"answer: {what}": answer for what, answer in said.items()}
    shown |= {f"metrics of {name}": metrics for name, metrics in _metrics(grace)}
    shown |= {f"exported {path}": data for path, data in files_below(tmp_path / "export")}
    shown |= {f"published {path}": data for path, data in files_below(grace.home.publication)}
    shown |= {f"log {path}": data for path, data in files_below(grace.home.logs)}
    for where, data in shown.items():
        found += leaks(where, data, [*needles, *content])
    assert len(shown) > 20

    everything = bus.read("admin", TOPICS)
    for topic in TOPICS:
        wanted = [*needles, *content] if topic in WITHOUT_CONTENT else needles
        records = {f"{record.place}": _whole(record) for record in everything if record.place.topic == topic.name}
        if leaks(topic.name, b"\n".join(records.values()), wanted):  # all at once; which one is seldom asked
            for where, data in records.items():
                found += leaks(where, data, wanted)

    rows = asyncio.run(_rows(grace.admin_url))
    assert {schema for schema, _ in rows} >= {name.replace("-", "_") for name in SERVICES}
    for (schema, table), row in rows.items():
        silent = schema == "audit_log" and table in TABLES_WITHOUT_CONTENT
        found += leaks(f"table {schema}.{table}", row, [*needles, *content] if silent else needles)

    # The servers' records and rows were read above; credentials are what is kept there.
    read = [grace.home.root / "server", grace.home.credentials, grace.home.publication, grace.home.logs]
    for path, data in files_below(grace.home.root, read):
        kind, _, rest = path.partition("/")
        owner = rest.partition("/")[0] if kind in ("identity", "state") else ""
        if path != BROKERS_OWN or (grace.home.root / path).stat().st_mode & 0o077:
            found += leaks(path, data, needles, {owner})

    # The oracle is not blind: content is where it may be, and the owners know what is theirs.
    assert any(CONTENT.encode() in row for row in rows.values())
    processes = dict(_processes(grace))
    looking = may_trace(processes["code-gen"][0])
    assert looking or os.geteuid() != 0
    mark = [Needle("mark", SECRET.encode(), frozenset())]
    assert not looking or leaks_in_memory(processes["code-gen"][0], "another", mark)
    for name, tree in processes.items():
        for process in tree:
            with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):  # its work is done
                found += leaks(f"arguments of {name}", " ".join(process.cmdline()).encode(), needles)
                found += leaks_in_memory(process, name, needles) if looking else []
    assert not found, "\n".join(found)


def _live(ada: Person, reviewer: Person, olga: Person, bus: Bus, ledger: Ledger) -> dict[str, bytes]:
    """Let happen what may leak: a delivery, a model that fails, refusals over HTTP and Kafka; return the answers."""
    task_id = ada.post("/api/tasks", SHOUT)["id"]
    ada.waits_for(task_id, "approach-proposed")
    reviewer.post(f"/api/tasks/{task_id}/guidance", {"guidance": f"{CONTENT} of the guidance"})
    approve(ada, reviewer, task_id)
    said = {"receipt": receipt(ada, task_id)}

    stranger = f"grc_{planted('stranger-token')}"
    asked: dict[str, tuple[str, str, Any, dict[str, str]]] = {
        "bad token": ("GET", "/api/tasks", None, {"Authorization": f"Bearer {stranger}"}),
        "no scheme": ("GET", "/api/tasks", None, {"Authorization": ada.key}),
        "basic": ("POST", "/api/tasks", SHOUT, {"Authorization": f"Basic {_basic(stranger)}"}),
        "key in the path": ("GET", f"/api/tasks/{ada.key}/{stranger}", None, {}),
        "key in the query": ("GET", f"/api/tasks?limit={ada.key}&cursor={stranger}", None, {}),
        "key in the body": ("POST", "/api/tasks", SHOUT | {"mode": ada.key, ada.key: stranger, "x": CONTENT}, {}),
        "foreign role": ("GET", f"/api/governance/dead-letters?cursor={CONTENT}", None, {}),
        "too late": ("POST", f"/api/tasks/{task_id}/guidance", {"guidance": CONTENT}, {}),
        "key as a header": ("POST", "/api/tasks", SHOUT, {"Idempotency-Key": f"{ada.key} {stranger}" * 9}),
    }
    operations = []
    for what, (method, path, body, headers) in asked.items():
        answer = ada.ask(method, path, body, **headers)
        assert 400 <= answer.status_code < 500, f"{what}: {answer.status_code} {answer.text}"
        said[what] = answer.content + repr(answer.headers).encode()
        operations += [answer.headers["grace-operation-id"]] if "grace-operation-id" in answer.headers else []
    until("refusals in the ledger", lambda: {entry.operation_id for entry in ledger.entries()} >= set(operations))

    outsider = enrol(olga, f"canary-{uuid4().hex[:8]}")
    place = outsider.ask(bus, uuid4(), "grace.task-submitted.v1", {"requirements": CONTENT, "mode": "x", "more": 1})
    until(
        "dead letter",
        lambda: place.refusal_id in {letter["refusal_id"] for letter in olga.items("/api/governance/dead-letters")},
    )
    return said


def _whole(record: Record) -> bytes:
    return b"\n".join([record.key, record.value, *(value for _, value in record.headers)])


def _basic(password: str) -> str:
    return base64.b64encode(f"ada:{password}".encode()).decode()


def _metrics(grace: Stack) -> Iterator[tuple[str, bytes]]:
    with httpx.Client(trust_env=False, timeout=30) as http:
        for child in grace.children():
            if child.name in SERVICES:
                for path in ("metrics", "ready", "health"):
                    yield f"{child.name}/{path}", http.get(f"http://127.0.0.1:{child.port}/{path}").content


async def _rows(url: str) -> dict[tuple[str, str], bytes]:
    """Return every table's rows as text, one after the other."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
            "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        found = {}
        for schema, table in tables:
            rows = await connection.fetch(f'SELECT t::text FROM "{schema}"."{table}" t')
            found[schema, table] = "\n".join(row[0] for row in rows).encode()
        return found
    finally:
        await connection.close()


def _processes(grace: Stack) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Yield every child of the supervisor with the processes below it; servers in containers cannot be looked into."""
    for child in grace.children():
        if child.pid is not None and child.name not in grace.contained:
            process = psutil.Process(child.pid)
            # PostgreSQL's first process has the memory that all of them share; the others come and go with clients.
            below = [] if child.name == POSTGRES else process.children(recursive=True)
            yield child.name, [process, *below]


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.encode(),
        lambda text: text.encode().hex().encode(),
        lambda text: base64.b64encode(b"a" + text.encode()),
        lambda text: base64.b64encode(b"ab" + text.encode() + b"more"),
        lambda text: base64.urlsafe_b64encode(b"abc" + text.encode()),
    ],
)
def test_a_secret_is_found_however_it_is_written(write: Any) -> None:
    secret = Needle("mark", planted("gateway-kafka").encode(), frozenset({"gateway"}))
    text = write(secret.value.decode())

    assert leaks("x", b"before" + text + b"after", [secret]) == ["mark in x"]
    assert leaks("x", b"before" + text, [secret], {"gateway"}) == []
    assert leaks("x", write(planted("other")), [secret]) == []


def test_a_secret_is_found_in_the_memory_of_a_process_that_may_not_know_it() -> None:
    told = planted("gateway-kafka")
    keep = "import sys; kept = sys.stdin.readline(); print('kept', flush=True); sys.stdin.readline()"
    with subprocess.Popen([sys.executable, "-c", keep], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{told}\n".encode())
        process.stdin.flush()
        process.stdout.readline()
        mark = [Needle("a planted secret", SECRET.encode(), frozenset())]
        assert leaks_in_memory(psutil.Process(process.pid), "gateway", mark) == []
        assert leaks_in_memory(psutil.Process(process.pid), "consensus", mark) == [
            "a planted secret (gateway's) in the memory of consensus"
        ]
        process.stdin.close()
