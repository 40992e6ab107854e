"""The AsyncAPI 3.0 document of Grace's topics, generated from the topics table and the event classes."""

from typing import Any

from grace_common.contract import events  # noqa: F401  (loads every event class)
from grace_common.contract.events.base import event_types
from grace_common.contract.topics import TOPICS, Topic

SEAL_HEADERS = {
    "type": "object",
    "required": ["grace-key-id", "grace-seal"],
    "properties": {
        "content-type": {"const": "application/cloudevents+json"},
        "grace-key-id": {"type": "string", "description": "id of the workload's or producer's certified key"},
        "grace-seal": {"type": "string", "contentEncoding": "binary", "description": "Ed25519 signature, 64 bytes"},
        "grace-seal-path": {
            "type": "string",
            "contentEncoding": "binary",
            "description": "inclusion path, where records were sealed together",
        },
    },
}


def document() -> dict[str, Any]:
    """Return the whole document; an operation per (service, topic) pair says who sends and who receives."""
    channels, operations, messages = {}, {}, {}
    for topic in TOPICS:
        names = [one.schema_name() for one in event_types().values() if one.TOPIC is topic]
        channels[topic.noun] = _channel(topic, names)
        for action, services in (("send", topic.writers), ("receive", topic.readers)):
            for service in services:
                operations[f"{service}-{action}s-{topic.noun}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{topic.noun}"},
                    "summary": f"{service} {'writes' if action == 'send' else 'reads'} {topic.name}",
                }
    for event in event_types().values():
        name = event.schema_name()
        messages[name] = {
            "name": event.TYPE,
            "summary": (event.__doc__ or "").strip().splitlines()[0],
            "contentType": "application/cloudevents+json",
            "headers": SEAL_HEADERS,
            "payload": {"$ref": "#/components/schemas/envelope"},
            "x-data-schema": f"events/{event.TOPIC.noun}/{name}.schema.json",
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Grace",
            "version": "1.0.0",
            "description": "Facts that Grace's services state. Every record is a CloudEvents 1.0 envelope, sealed.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": {"envelope": envelope_schema()}},
    }


def envelope_schema() -> dict[str, Any]:
    """Return the JSON Schema of the envelope, whatever its data."""
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data", "correlationid", "operationid", "actor"],
        "additionalProperties": False,
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid"},
            "source": text,
            "type": {"type": "string", "pattern": r"^grace\.[a-z-]+\.v[1-9][0-9]*$"},
            "time": {"type": "string", "format": "date-time"},
            "subject": text,
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"type": "string", "format": "uri"},
            "correlationid": text,
            "causationid": {"type": "string", "format": "uuid"},
            "operationid": {"type": "string", "format": "uuid"},
            "actor": text,
            "traceparent": text,
            "data": {"type": "object"},
        },
    }


def _channel(topic: Topic, names: list[str]) -> dict[str, Any]:
    retention = (
        "compacted" if topic.compacted else "for ever" if topic.retention is None else f"{topic.retention.days} d"
    )
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. Partitions: {topic.partitions}. Kept: {retention}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }
