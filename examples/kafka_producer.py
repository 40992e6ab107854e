"""Ask Grace for code from any program: a sealed CloudEvent on Kafka, and nothing of Grace's own.

Enrol the key once, then source the broker's credentials and run it:

    grace producers enrol build-farm --generate build-farm/
    set -a; source .grace/credentials/producer.env; set +a
    python examples/kafka_producer.py build-farm/key.pem
"""

import hashlib
import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cloudevents.core.bindings.kafka import to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Producer
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TOPIC = "grace.intake.v1"
TASK = {
    "requirements": "Create a function to calculate fibonacci",
    "signature": "def fibonacci(n: int) -> int:",
    "examples": [{"args": [0], "expected": 0}, {"args": [1], "expected": 1}, {"args": [10], "expected": 55}],
}

task_id = str(uuid.uuid4())  # the event's id becomes the task's: sent twice, it is still one task
attributes = {"id": task_id, "source": "/producer/build-farm", "type": "grace.task-submitted.v1"}
event = CloudEvent({**attributes, "time": datetime.now(UTC), "datacontenttype": "application/json"}, TASK)
key, value = task_id.encode(), to_structured(event, JSONFormat()).value

private_key = load_pem_private_key(Path(sys.argv[1]).read_bytes(), password=None)
key_id = hashlib.sha256(private_key.public_key().public_bytes_raw()).hexdigest()[:32]
kind = f"application/cloudevents+json;topic={TOPIC};key={key.hex()}".encode()
seal = private_key.sign(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(value), value))  # DSSE, over the exact bytes

headers = {"content-type": b"application/cloudevents+json", "grace-key-id": key_id.encode(), "grace-seal": seal}
producer = Producer(
    {
        "bootstrap.servers": os.environ["GRACE_KAFKA_BOOTSTRAP"],
        "security.protocol": os.environ.get("GRACE_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": os.environ["GRACE_KAFKA_USERNAME"],
        "sasl.password": os.environ["GRACE_KAFKA_PASSWORD"],
    }
)
producer.produce(TOPIC, value=value, key=key, headers=headers)
if producer.flush(30):
    sys.exit("the broker did not take the event")
print(task_id)
