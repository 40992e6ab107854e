"""Who may import whom: contracts made from the folder tree, so that a new service needs no list edited."""

import sys
import tempfile
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent
DOMAIN_FORBIDDEN = (
    "faststream", "aiokafka", "sqlalchemy", "asyncpg", "fastapi", "httpx", "asyncio", "grace_common.runtime",
)  # fmt: skip
RUNTIME_ONLY = ("faststream", "aiokafka")
MAY_USE_CRYPTOGRAPHY = ("grace_crypto_signer", "grace_audit_log")


def packages() -> list[str]:
    """Return the package of every service, by its folder."""
    return sorted(path.parent.name for path in ROOT.glob("services/*/grace_*/__init__.py"))


def configuration() -> str:
    """Return the contracts in import-linter's own format."""
    services = packages()
    roots = ["grace_common", "grace_cli", *services]
    contracts = [
        _contract("independence", "the services meet on topics only", "independence", modules=services),
        _contract(
            "library-layers",
            "the library's rooms",
            "layers",
            layers=["testing", "runtime", "transparency", "contract"],
            containers=["grace_common"],
            exhaustive="true",
        ),
        _contract(
            "pure-library",
            "contract and transparency are pure",
            "forbidden",
            source_modules=["grace_common.contract", "grace_common.transparency"],
            forbidden_modules=[name for name in DOMAIN_FORBIDDEN if name != "grace_common.runtime"],
            allow_indirect_imports="true",
        ),
        _contract(
            "no-testing",
            "shipped code never imports testing",
            "forbidden",
            source_modules=[*services, "grace_common.runtime"],
            forbidden_modules=["grace_common.testing", "grace_cli"],
        ),
        _contract(
            "broker-clients",
            "only the runtime talks to the broker",
            "forbidden",
            source_modules=services,
            forbidden_modules=RUNTIME_ONLY,
            allow_indirect_imports="true",
        ),
        _contract(
            "keys",
            "cryptography stays where keys are",
            "forbidden",
            source_modules=[name for name in services if name not in MAY_USE_CRYPTOGRAPHY],
            forbidden_modules=["cryptography"],
            allow_indirect_imports="true",
        ),
    ]
    for service in services:
        rooms = {path.stem for path in (ROOT.glob(f"services/*/{service}/*")) if path.stem != "__init__"}
        doors = [room for room in ("handlers", "api", "adapters") if room in rooms]
        layers = [" | ".join(doors)] if doors else []
        layers = [f"({room})" for room in ("__main__", "main")] + layers + ["(ports)", "(settings)", "domain"]
        contracts.append(
            _contract(f"layers-{service}", f"the rooms of {service}", "layers", layers=layers, containers=[service])
        )
        if "domain" in rooms:
            contracts.append(
                _contract(
                    f"domain-{service}",
                    f"the domain of {service} is pure",
                    "forbidden",
                    source_modules=[f"{service}.domain"],
                    forbidden_modules=DOMAIN_FORBIDDEN,
                    allow_indirect_imports="true",
                )
            )
    head = f"[importlinter]\ninclude_external_packages = True\nroot_packages =\n{_lines(roots)}\n"
    return "\n".join([head, *contracts])


def main() -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write(configuration())
        file.flush()
        return int(lint_imports(config_filename=file.name, no_cache=True))


def _contract(id_: str, name: str, type_: str, **fields: object) -> str:
    body = "".join(
        f"{key} =\n{_lines(value)}\n" if isinstance(value, list | tuple) else f"{key} = {value}\n"
        for key, value in fields.items()
    )
    return f"[importlinter:contract:{id_}]\nname = {name}\ntype = {type_}\n{body}"


def _lines(values: object) -> str:
    return "\n".join(f"    {value}" for value in values)  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
