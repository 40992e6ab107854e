"""How a process tells what it does: JSON logs, Prometheus metrics, OpenTelemetry context."""

import logging
import re
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

_SHORTEST_SECRET: Final = 8  # shorter ones are words of other things, and no secrets
_PROPAGATOR: Final = TraceContextTextMapPropagator()

HANDLED: Final = Counter("grace_records_handled_total", "Records handled", ["topic", "outcome"])
PRODUCED: Final = Counter("grace_records_produced_total", "Records acknowledged by the broker")
BATCH_SECONDS: Final = Histogram("grace_batch_seconds", "Seconds per batch, from first record to commit", ["group"])
OPERATIONS: Final = Counter("grace_operations_total", "Operations ended", ["name", "outcome"])
READY: Final = Gauge("grace_ready", "Whether the service is ready (1) or not (0)")


class Scrubber:
    """Leaves the process's own secrets out of what it logs: no code means to log one, but an error may quote it."""

    def __init__(self, secrets: Iterable[str]) -> None:
        longest_first = sorted((secret for secret in secrets if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Return a log line's members without secrets: a structlog processor, last before the rendering."""
        if self._secrets is not None:
            for name, value in line.items():
                said = value if isinstance(value, str) else repr(value)
                if self._secrets.search(said):
                    line[name] = self._secrets.sub("[secret]", said)
        return line


def configure(service: str, level: str, secrets: Iterable[str] = ()) -> None:
    """Send every log line to standard output as one JSON object, foreign libraries' included.

    secrets  what must not stand in any
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                Scrubber(secrets),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.getLogger("aiokafka").setLevel(
        "ERROR"
    )  # it logs each reconnection attempt; the runtime says what is missing
    structlog.contextvars.bind_contextvars(service=service)
    trace.set_tracer_provider(TracerProvider(resource=Resource.create({"service.name": service})))


def traceparent() -> str | None:
    """Return the current W3C trace context, or None where nothing is traced."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def continued(parent: str | None) -> Iterator[None]:
    """Go on with the trace that an incoming `traceparent` names; without one, a block is not traced."""
    if parent is None:
        yield
        return
    token = context.attach(_PROPAGATOR.extract({"traceparent": parent}))
    try:
        yield
    finally:
        context.detach(token)
