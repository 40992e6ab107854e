"""What the stack decides before anything runs: folders, ports, accounts, credentials, environments, plans."""

import hmac
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from grace_cli.errors import CliError, Exit
from grace_cli.stack.accounts import reachable_folder, server_account
from grace_cli.stack.artifacts import ArtifactCache
from grace_cli.stack.credentials import ensure_api_keys, passwords, read_env_file, write_env_file
from grace_cli.stack.environment import Servers, service_environment
from grace_cli.stack.home import Home, find_home, write_secret
from grace_cli.stack.lifecycle import check_space
from grace_cli.stack.plan import Preparation, ServicePlan, StackPlan, identities, installed_services
from grace_cli.stack.ports import Ports, free_port, is_free
from grace_cli.stack.prerequisites import sandbox_advice
from grace_cli.stack.progress import Bars, PlainLines, Silent, byte_progress, for_terminal
from grace_cli.stack.servers import kafka_of, postgres_of
from grace_cli.testing.stack import use_containers
from grace_common.contract.topics import SERVICES


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", tmp_path / "cache")
    home.make()
    return home


def test_the_state_folder_is_found_upwards_to_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    deep = tmp_path / "services" / "gateway"
    deep.mkdir(parents=True)
    assert find_home({}, deep).root == tmp_path / ".grace"
    assert find_home({}, deep).cache == tmp_path / ".grace" / "artifacts"


def test_settings_name_the_state_folder_and_the_cache(tmp_path: Path) -> None:
    found = find_home({"GRACE_HOME": str(tmp_path / "a"), "GRACE_CACHE": str(tmp_path / "b")}, Path("/"))
    assert (found.root, found.cache) == (tmp_path / "a", tmp_path / "b")


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CliError, match="cannot be made"):
        Home(tmp_path / "file" / "home", tmp_path).make()


def test_a_secret_that_cannot_be_written_is_named_and_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CliError, match="cannot be written"):
        write_secret(tmp_path / "folder", "secret")  # a folder stands in the way
    with pytest.raises(CliError, match="cannot be written"):
        write_secret(tmp_path / "absent" / "file", "secret")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="MiB are free"):
        check_space(tmp_path, least=1 << 60)


def test_a_taken_port_is_left_alone_and_the_other_one_is_told_and_remembered(tmp_path: Path) -> None:
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        default = taken.getsockname()[1]
        first = Ports(tmp_path / "ports.json", told.append).take("gateway", default)
        assert not is_free(default)
        assert first != default
        assert told == [f"port {default} is taken: gateway listens on {first}"]
        assert Ports(tmp_path / "ports.json", told.append).take("gateway", default) == first
    assert free_port([default]) == default


def test_a_port_that_another_grace_has_chosen_and_not_opened_yet_is_left_to_it() -> None:
    choose = "from grace_cli.stack.ports import free_port; print(free_port(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", choose], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        chosen = int(other.stdout.readline())
        assert is_free(chosen)
        assert free_port([chosen]) != chosen
        other.communicate("\n")
    assert free_port([chosen]) == chosen


def test_no_port_is_chosen_twice() -> None:
    chosen = [free_port() for _ in range(400)]

    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("content", ["", "[]", '{"gateway": "soon"}'])
def test_a_damaged_memory_of_ports_is_forgotten(tmp_path: Path, content: str) -> None:
    (tmp_path / "ports.json").write_text(content)
    port = free_port()
    assert Ports(tmp_path / "ports.json", print).take("gateway", port) == port


def test_postgres_runs_as_the_caller_unless_that_is_root() -> None:
    account = server_account()
    assert (account is None) == (os.geteuid() != 0)
    assert account is None or account.uid != 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder that any account can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_below_a_closed_home_is_replaced_by_one_outside(open_folder: Path) -> None:
    closed, outside = open_folder / "closed", open_folder / "outside"
    closed.mkdir(mode=0o700)
    outside.mkdir(mode=0o755)
    account = server_account()
    if account is None:  # PostgreSQL runs as the caller, to whom its own home is open
        assert reachable_folder(closed, None) == closed / "server"
        return
    folder = reachable_folder(closed, account, [str(outside)])
    assert folder.parent == outside
    assert (closed / "server").resolve() == folder
    assert reachable_folder(closed, account, [str(outside)]) == folder


def test_an_open_folder_is_used_where_it_is(open_folder: Path) -> None:
    assert reachable_folder(open_folder, server_account()) == (open_folder / "server").resolve()


def test_where_no_folder_can_be_reached_the_advice_is_to_name_one(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        assert reachable_folder(tmp_path, None) == tmp_path / "server"
        return
    account = server_account()
    assert account is not None
    tmp_path.chmod(0o700)
    with pytest.raises(CliError) as raised:
        reachable_folder(tmp_path, account, [str(tmp_path / "absent")])
    assert "GRACE_HOME" in raised.value.advice


def test_passwords_are_made_once_and_differ(home: Home) -> None:
    first = passwords(home, "gateway")
    assert passwords(home, "gateway") == first
    assert len({first.kafka, first.database, passwords(home, "consensus").kafka}) == 3
    assert first.kafka not in repr(first)


def test_each_first_user_gets_a_key_of_which_the_gateway_has_only_the_hash(home: Home, tmp_path: Path) -> None:
    keys = json.loads(ensure_api_keys(home, tmp_path).read_text())
    hashes = json.loads((tmp_path / "api-keys.json").read_text())
    pepper = (tmp_path / "pepper").read_text().encode()
    assert {user: entry["role"] for user, entry in keys.items()} == {
        "ada": "requester",
        "grace": "reviewer",
        "olga": "operator",
        "anton": "auditor",
    }
    for entry in hashes:
        assert entry["hash"] == hmac.digest(pepper, keys[entry["user"]]["key"].encode(), "sha256").hex()
        assert entry["roles"] == [keys[entry["user"]]["role"]]
        assert entry["expires"] is None
    assert not any(entry["key"] in (tmp_path / "api-keys.json").read_text() for entry in keys.values())
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.is_file()} == {0o600}


def test_api_keys_stay_until_the_pepper_is_gone(home: Home, tmp_path: Path) -> None:
    before = ensure_api_keys(home, tmp_path).read_text()
    assert ensure_api_keys(home, tmp_path).read_text() == before
    (tmp_path / "pepper").unlink()
    assert ensure_api_keys(home, tmp_path).read_text() != before


SERVERS = Servers(
    "127.0.0.1:19092", "SASL_PLAINTEXT", True, "postgresql://postgres:root@127.0.0.1:15432/postgres", "grace"
)


def test_a_service_is_not_told_what_belongs_to_the_stack_or_to_another(home: Home) -> None:
    caller = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "cloud",
        "GRACE_KAFKA_ADMIN_PASSWORD": "admin",
        "GRACE_DATABASE_URL": "postgresql://postgres:root@db/postgres",
        "GRACE_MODEL_API_KEY": "model",
        "GRACE_LOG_LEVEL": "DEBUG",
        "GRACE_DATABASE_POOL": "4",
        "GRACE_KAFKA_COMPRESSION": "lz4",
        "GRACE_LOG_KEY_OVERLAP_DAYS": "7",
        "GRACE_LOG_KEY_CHECKPOINTS": "9",
    }
    told = service_environment("audit-log", 8000, SERVERS, passwords(home, "audit-log"), home, caller)
    assert not {"cloud", "admin", "model", "root"} & set(told.values())
    assert (told["PATH"], told["GRACE_LOG_LEVEL"], told["GRACE_DATABASE_POOL"]) == ("/bin", "DEBUG", "4")
    assert told["GRACE_DATABASE_URL"].endswith("@127.0.0.1:15432/grace")
    assert told["GRACE_KAFKA_COMPRESSION"] == "lz4"
    assert (told["GRACE_LOG_KEY_OVERLAP_DAYS"], told["GRACE_LOG_KEY_CHECKPOINTS"]) == ("7", "9")
    model_caller = service_environment("code-gen", 8000, SERVERS, passwords(home, "code-gen"), home, caller)
    assert model_caller["GRACE_MODEL_API_KEY"] == "model"


def test_an_operators_line_in_a_credential_file_reaches_that_service_alone(home: Home) -> None:
    known = passwords(home, "gateway")
    path = home.credentials / "gateway.env"
    write_env_file(path, read_env_file(path) | {"GRACE_OIDC_CLIENT_SECRET": "from the operator"})
    assert passwords(home, "gateway") == known
    told = service_environment("gateway", 8000, SERVERS, known, home, {})
    assert told["GRACE_OIDC_CLIENT_SECRET"] == "from the operator"
    other = service_environment("consensus", 8000, SERVERS, passwords(home, "consensus"), home, {})
    signer = service_environment("crypto-signer", 8000, SERVERS, passwords(home, "crypto-signer"), home, {})
    assert signer["GRACE_IDENTITIES_DIR"] == str(home.identity("gateway").parent)
    assert "GRACE_IDENTITIES_DIR" not in {*told, *other}
    assert "GRACE_OIDC_CLIENT_SECRET" not in other


def test_without_authentication_no_kafka_password_is_told(home: Home) -> None:
    open_servers = Servers("kafka:9092", "PLAINTEXT", False, SERVERS.admin_url, "grace")
    told = service_environment("gateway", 8000, open_servers, passwords(home, "gateway"), home, {})
    assert "GRACE_KAFKA_USERNAME" not in told
    assert "GRACE_KAFKA_PASSWORD" not in told


def test_every_service_of_the_topics_table_is_installed_and_has_its_certificate_made(home: Home) -> None:
    services = installed_services()
    assert {service.name for service in services} >= set(SERVICES)
    (step,) = identities(home, services)
    names = tuple(service.name for service in services)
    assert (step.service, step.before) == ("crypto-signer", names)
    assert step.run[-len(names) - 3 :] == ("init", *names, "--out-root", str(home.root / "identity"))
    assert step.certificates == tuple(str(home.identity(name) / "cert.pem") for name in names)
    assert identities(home, [service for service in services if service.name != "crypto-signer"]) == ()


def test_a_plan_survives_its_file() -> None:
    plan = StackPlan(
        (ServicePlan("gateway", ("python", "-m", "x"), ("python", "-m", "x", "migrate"), 8420, "x"),),
        (Preparation("oath", ("true",), "gateway", ("gateway",), ("cert.pem",)),),
    )
    assert StackPlan.from_json(plan.to_json()) == plan


def test_existing_servers_are_used_as_they_are_named(home: Home) -> None:
    cache, ports = ArtifactCache(home.cache, Silent()), Ports(home.ports, print)
    kafka = kafka_of(home, cache, ports, {"GRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1, 127.0.0.1:2"})
    assert (kafka.command, kafka.port, kafka.authenticates, kafka.answers()) == (None, None, False, False)
    secured = {
        "GRACE_KAFKA_BOOTSTRAP": "kafka:9092",
        "GRACE_KAFKA_ADMIN_USERNAME": "root",
        "GRACE_KAFKA_ADMIN_PASSWORD": "secret",
        "GRACE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    }
    assert kafka_of(home, cache, ports, secured).protocol == "SASL_SSL"
    postgres = postgres_of(home, cache, ports, {"GRACE_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/team"})
    assert (postgres.command, postgres.port, postgres.answers()) == (None, None, False)


@pytest.mark.parametrize(
    "settings",
    [
        {"GRACE_KAFKA_BOOTSTRAP": "kafka"},
        {"GRACE_KAFKA_BOOTSTRAP": "kafka:9092", "GRACE_KAFKA_ADMIN_USERNAME": "root"},
    ],
)
def test_a_half_named_cluster_is_a_usage_error(home: Home, settings: dict[str, str]) -> None:
    with pytest.raises(CliError) as raised:
        kafka_of(home, ArtifactCache(home.cache, Silent()), Ports(home.ports, print), settings)
    assert raised.value.code is Exit.USAGE


def test_a_database_url_of_another_kind_is_a_usage_error_that_does_not_repeat_it(home: Home) -> None:
    with pytest.raises(CliError) as raised:
        postgres_of(
            home,
            ArtifactCache(home.cache, Silent()),
            Ports(home.ports, print),
            {"GRACE_DATABASE_URL": "mysql://a:pw@b"},
        )
    assert raised.value.code is Exit.USAGE
    assert "pw" not in raised.value.message


def test_a_missing_bubblewrap_is_told_with_the_command_that_installs_it() -> None:
    here = {"apt-get", "sudo"}
    assert sandbox_advice(lambda name: name) == ""
    assert sandbox_advice(lambda name: name if name in here else None).endswith("sudo apt-get install -y bubblewrap")
    assert sandbox_advice(lambda name: None).endswith("install the package bubblewrap")


def test_progress_is_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with byte_progress(PlainLines(), "Kafka", 10 << 20) as advance:
        for _ in range(10):
            advance(1 << 20)
    assert capsys.readouterr().err.splitlines()[-1] == "Kafka: 10 of 10 MiB"
    assert isinstance(for_terminal(quiet=True), Silent)
    assert isinstance(for_terminal(), Bars if sys.stderr.isatty() else PlainLines)


def test_progress_on_a_terminal_is_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Bars()
    bars.say("Kafka: recording")
    with byte_progress(bars, "Kafka", 100) as advance:
        advance(100)
    shown = capsys.readouterr().err
    assert "Kafka: recording" in shown
    assert "100/100" in shown


def test_the_kind_of_test_servers_can_be_chosen() -> None:
    assert use_containers("containers")
    assert not use_containers("embedded")
    with pytest.raises(pytest.UsageError):
        use_containers("cloud")
