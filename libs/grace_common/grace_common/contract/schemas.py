"""JSON Schemas (draft 2020-12) of every event, generated from the classes.

Paths below `schemas/`: `events/<noun>/<name>.v<N>.schema.json`, with an example record beside each.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from grace_common.contract import events  # noqa: F401  (loads every event class)
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event, event_types
from grace_common.contract.topics import Topic

_LAYOUT = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def event_schema(event: type[Event]) -> dict[str, Any]:
    """Return the schema of one event version's data."""
    schema = event.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:grace:schema:{event.schema_name()}",
        **schema,
    }


def event_files() -> dict[str, bytes]:
    """Return every event schema and example by its path below `schemas/`."""
    files: dict[str, bytes] = {}
    for event in event_types().values():
        stem = f"events/{event.TOPIC.noun}/{event.schema_name()}"
        files[f"{stem}.schema.json"] = orjson.dumps(event_schema(event), option=_LAYOUT)
        files[f"{stem}.example.json"] = orjson.dumps(orjson.loads(event.example().model_dump_json()), option=_LAYOUT)
    return files


def check_events(folder: Path, topics: Iterable[Topic]) -> None:
    """Refuse when the checked-in schemas of these topics differ from the code: somebody forgot `make schemas`."""
    nouns = {topic.noun for topic in topics}
    for path, content in event_files().items():
        if path.split("/")[1] not in nouns or not path.endswith(".schema.json"):
            continue
        file = folder / path
        if not file.is_file():
            raise Refused(f"the schema {file} is missing; run `make schemas`, or set GRACE_SCHEMAS_DIR to the folder")
        if file.read_bytes() != content:
            raise Refused(f"the schema {file} differs from the code of this service; deploy both from one version")
