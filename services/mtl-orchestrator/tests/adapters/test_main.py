"""The service as a process: what it needs, what it says when that is missing."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import pytest
from grace_cli.testing.stack import Postgres
from grace_common.contract.errors import Refused
from grace_common.testing import certificates
from grace_mtl_orchestrator.adapters.policy_files import packaged
from grace_mtl_orchestrator.domain.policy import PolicyBroken
from grace_mtl_orchestrator.main import build
from grace_mtl_orchestrator.settings import Settings
from pydantic import SecretStr


def settings(folder: Path, url: str, policies: Path | None = None) -> Settings:
    certificates.write(certificates.Authority().issue("service/mtl-orchestrator"), folder / "identity")
    return Settings(
        service="mtl-orchestrator",
        kafka_bootstrap="127.0.0.1:9",
        database_url=SecretStr(url),
        identity_dir=folder / "identity",
        state_dir=folder,
        publication_dir=folder,
        schemas_dir=folder,
        http_port=0,
        policies_dir=policies,
    )


async def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the service's command line; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "grace_mtl_orchestrator",
        *arguments,
        env={name: value for name, value in os.environ.items() if not name.startswith("GRACE_")} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


def test_the_service_is_composed_of_its_router_its_timers_and_its_migrations(tmp_path: Path) -> None:
    service = build(settings(tmp_path, "postgresql://nobody:nothing@127.0.0.1:9/grace"))

    assert [router.group_id for router in service.routers] == ["mtl-orchestrator"]
    assert len(service.background) == 1
    migrations = service.migrations()
    assert migrations is not None
    assert list(migrations.glob("versions/*.py"))


def test_a_policy_that_cannot_serve_keeps_the_service_from_starting(tmp_path: Path) -> None:
    (tmp_path / "only.toml").write_text("name = 'only'\nversion = 1\n[expressions]\nmax_rounds = '1 +'\n")

    with pytest.raises(PolicyBroken, match="policies define"):
        build(settings(tmp_path, "postgresql://nobody:nothing@127.0.0.1:9/grace", tmp_path))


def test_a_folder_of_policies_can_be_named(tmp_path: Path) -> None:
    service = build(settings(tmp_path, "postgresql://nobody:nothing@127.0.0.1:9/grace", packaged()))

    assert [policy.name for policy in service.ports.policies] == ["admission", "approval", "rounds"]


def test_another_database_than_postgresql_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="must begin with postgresql://"):
        build(settings(tmp_path, "sqlite:///grace.db"))


async def test_without_settings_the_process_ends_and_names_each_that_is_missing() -> None:
    code, said = await run()

    assert code == 1
    assert "database_url: Field required" in said
    assert "set them as GRACE_<NAME>" in said


async def test_migrate_makes_the_schema_and_doing_it_twice_changes_nothing(tmp_path: Path, postgres: Postgres) -> None:
    name = f"migrated_{tmp_path.name}".replace("-", "_")
    for statement, place in ((f"CREATE DATABASE {name}", "postgres"), ("CREATE EXTENSION pg_trgm", name)):
        admin = await asyncpg.connect(postgres.url(place))
        await admin.execute(statement)
        await admin.close()
    given = settings(tmp_path, postgres.url(name))
    environment = {
        f"GRACE_{field.upper()}": str(value)
        for field, value in given.model_dump(exclude={"database_url"}, exclude_none=True).items()
    }

    for _ in range(2):
        code, said = await run("migrate", GRACE_DATABASE_URL=postgres.url(name), **environment)
        assert (code, "Traceback" in said) == (0, False)

    connection = await asyncpg.connect(postgres.url(name))
    tables = await connection.fetch("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    await connection.close()
    assert {"task", "history", "timer", "outcome", "policy_set", "inbox", "outbox"} <= {row[0] for row in tables}
