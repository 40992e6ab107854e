"""How a process tells what it does: JSON logs, Prometheus metrics, OpenTelemetry context."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

_PROPAGATOR: Final = TraceContextTextMapPropagator()

HANDLED: Final = Counter("grace_records_handled_total", "Records handled", ["topic", "outcome"])
PRODUCED: Final = Counter("grace_records_produced_total", "Records acknowledged by the broker")
BATCH_SECONDS: Final = Histogram("grace_batch_seconds", "Seconds per batch, from first record to commit", ["group"])
OPERATIONS: Final = Counter("grace_operations_total", "Operations ended", ["name", "outcome"])
READY: Final = Gauge("grace_ready", "Whether the service is ready (1) or not (0)")


def configure(service: str, level: str) -> None:
    """Send every log line to standard output as one JSON object, foreign libraries' included."""
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
