"""`schemas/`: everything that Grace promises to others, generated from the code and checked in.

    events/    JSON Schemas and examples of every event version, the envelope, the AsyncAPI document
    api/       OpenAPI, and the schemas of each noun's requests and answers
    database/  the DDL that each service's migrations run, from nothing
    config/    the settings of each service
    receipt/   the receipt's file, with the in-toto predicates of its attestations

`write` makes them; `check` fails when they differ from the code, or break what the last release promised.
"""

import inspect
import io
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import orjson
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from grace_common.contract.schemas import event_files
from grace_common.runtime.settings import Settings
from grace_common.transparency.receipt import FORMAT, FORMAT_V1
from grace_common.transparency.receipt_schema import receipt_schema

from tools.asyncapi import document, envelope_schema
from tools.boundaries import packages
from tools.compatibility import breaks

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "schemas"
_LAYOUT = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def generated() -> dict[str, bytes]:
    """Return every schema file's content by its path below `schemas/`."""
    files = event_files()
    files["events/envelope.v1.schema.json"] = _json(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "envelope", **envelope_schema()}
    )
    files["events/asyncapi.json"] = _json(document())
    for version in (FORMAT_V1, FORMAT):
        files[f"receipt/{version.replace('/', '.')}.schema.json"] = _json(receipt_schema(version))
    for package in packages():
        service = package.removeprefix("grace_").replace("_", "-")
        files[f"config/{service}.schema.json"] = _json(_settings(package).model_json_schema())
        files[f"database/{service}.sql"] = _ddl(package).encode()
    for path, content in _api().items():
        files[f"api/{path}"] = content
    return files


def write() -> int:
    files = generated()
    for path, content in files.items():
        file = FOLDER / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for path in _checked_in() - files.keys():
        (FOLDER / path).unlink()
    print(f"wrote {len(files)} files to schemas/")
    return 0


def check() -> int:
    """Return 1, having said what differs, unless the files are fresh and compatible with the last release."""
    files = generated()
    problems = [f"schemas/{path} is missing" for path in sorted(files.keys() - _checked_in())]
    problems += [f"schemas/{path} has nothing behind it" for path in sorted(_checked_in() - files.keys())]
    problems += [
        f"schemas/{path} differs from the code"
        for path in sorted(files.keys() & _checked_in())
        if (FOLDER / path).read_bytes() != files[path]
    ]
    if problems:
        problems.append("run `make schemas`, and read the difference before you commit it")
    problems += broken_promises(files)
    print("\n".join(problems) if problems else f"{len(files)} schemas are fresh; {_promise()}")
    return 1 if problems else 0


def broken_promises(files: dict[str, bytes]) -> list[str]:
    """Return how event schemas break what the last release promised."""
    release = _last_release()
    if release is None:
        return []
    problems = []
    for path in _git("ls-tree", "-r", "--name-only", release, "schemas/events").splitlines():
        if not path.endswith(".schema.json"):
            continue
        name = path.removeprefix("schemas/")
        if name not in files:
            problems.append(f"{path} was promised by {release} and is gone; keep old versions with their upcast")
            continue
        was = orjson.loads(_git("show", f"{release}:{path}"))
        problems += [f"{path}: {reason} since {release}" for reason in breaks(was, orjson.loads(files[name]))]
    return problems


def _promise() -> str:
    release = _last_release()
    return f"compatible with {release}" if release else "there is no release yet to be compatible with"


def _last_release() -> str | None:
    tags = _git("tag", "--list", "v*", "--sort=-version:refname", "--merged").split()
    return tags[0] if tags else None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _checked_in() -> set[str]:
    return {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=_LAYOUT)


def _settings(package: str) -> type[Settings]:
    """Return the service's own Settings class; the runtime's where it has none."""
    if not any(ROOT.glob(f"services/*/{package}/settings.py")):
        return Settings
    module = import_module(f"{package}.settings")
    own = [
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Settings) and one.__module__ == module.__name__
    ]
    return own[0] if own else Settings


def _ddl(package: str) -> str:
    """Return what `migrate` runs on an empty schema: the runtime's migrations, then the service's own."""
    folders = [ROOT / "libs/grace_common/grace_common/runtime/migrations"]
    folders += [path for path in ROOT.glob(f"services/*/{package}/migrations") if (path / "versions").is_dir()]
    written = io.StringIO()
    for folder, version_table in zip(folders, ("alembic_version_runtime", "alembic_version"), strict=False):
        config = Config()
        config.set_main_option("script_location", str(folders[0]))
        config.set_main_option("version_locations", str(folder / "versions"))
        config.set_main_option("path_separator", "os")
        scripts = ScriptDirectory.from_config(config)
        context = EnvironmentContext(config, scripts)
        context.configure(
            dialect_name="postgresql",
            version_table=version_table,
            as_sql=True,
            output_buffer=written,
            literal_binds=True,
            fn=lambda revision, _, scripts=scripts: scripts._upgrade_revs("heads", revision),
        )
        context.run_migrations()
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _api() -> dict[str, bytes]:
    """Return OpenAPI, and beside it the schemas of each noun under /api."""
    openapi = import_module("grace_gateway.api.application").routes().openapi()
    files = {"openapi.json": _json(openapi)}
    components = openapi.get("components", {}).get("schemas", {})
    nouns = sorted({path.split("/")[2] for path in openapi["paths"] if path.startswith("/api/")})
    for noun in nouns:
        paths = {path: item for path, item in openapi["paths"].items() if path.startswith(f"/api/{noun}")}
        used = _referenced(paths, components)
        if used:
            files[f"{noun}.schema.json"] = _json(
                {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "$id": f"urn:grace:schema:api:{noun}",
                    "$defs": {name: _local(components[name]) for name in sorted(used)},
                }
            )
    return files


def _referenced(value: Any, components: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            name = str(item.get("$ref", "")).removeprefix("#/components/schemas/")
            if name in components and name not in found:
                found.add(name)
                waiting.append(components[name])
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return found


def _local(schema: Any) -> Any:
    return orjson.loads(orjson.dumps(schema).replace(b"#/components/schemas/", b"#/$defs/"))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write"]:
            sys.exit(write())
        case ["check"]:
            sys.exit(check())
        case _:
            sys.exit("usage: python -m tools.schemas write|check")
