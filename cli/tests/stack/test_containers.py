"""Containers as the tests' servers: how they are started, published and removed. No engine is needed here."""

import socket
from pathlib import Path

import pytest
from grace_cli.errors import CliError, Exit
from grace_cli.testing.containers import POSTGRES_SETTINGS, Contained, engine_answers, published


def test_a_container_is_started_again_where_it_was_and_removed_at_the_end() -> None:
    container = FakeContainer()
    contained = Contained(container, lambda: container.running)  # type: ignore[arg-type]  # what it uses of one
    with contained:
        contained.kill()
        contained.start()
        contained.restart()
    assert container.deeds == ["run", "kill", "start", "stop", "start", "remove"]


def test_a_container_that_ends_instead_of_answering_is_told_with_its_log_and_removed() -> None:
    container = FakeContainer(status="exited")
    with (
        pytest.raises(CliError, match=r"(?s)did not answer.*no space left") as raised,
        Contained(container, lambda: False),  # type: ignore[arg-type]  # what it uses of one
    ):
        raise AssertionError("it may not be used")
    assert raised.value.code is Exit.NOT_READY
    assert container.deeds == ["run", "remove"]


def test_a_container_that_could_not_be_started_is_removed() -> None:
    container = FakeContainer(fault=OSError("the port is taken"))
    with (
        pytest.raises(OSError, match="the port is taken"),
        Contained(container, lambda: True),  # type: ignore[arg-type]  # what it uses of one
    ):
        raise AssertionError("it may not be used")
    assert container.deeds == ["remove"]


def test_a_port_is_published_on_the_loopback_interface_alone() -> None:
    container = FakeContainer()
    published(container, 5432, 20_000)  # type: ignore[arg-type]  # what it uses of one
    assert container.ports == {"5432/tcp": ("127.0.0.1", 20_000)}


def test_postgres_in_a_container_is_set_as_the_embedded_one_but_listens_where_the_image_says() -> None:
    assert POSTGRES_SETTINGS["max_connections"] == "200"
    assert not {"listen_addresses", "unix_socket_directories"} & POSTGRES_SETTINGS.keys()


def test_an_engine_counts_that_answers_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        engine.listen()
        assert engine_answers(f"unix://{path}")
    assert not engine_answers(f"unix://{path}")
    assert not engine_answers("tcp://docker:2375")


class FakeContainer:
    """What the fixtures use of a testcontainer, and of the engine's container inside it."""

    def __init__(self, status: str = "running", fault: OSError | None = None) -> None:
        self.deeds: list[str] = []
        self.ports: dict[str, object] = {}
        self.running = False
        self.status = status
        self._fault = fault
        self._inner = FakeEngineContainer(self)

    def get_wrapped_container(self) -> "FakeEngineContainer":
        return self._inner

    def get_logs(self) -> tuple[bytes, bytes]:
        return b"starting\n", b"no space left on device\n"

    def start(self) -> None:
        if self._fault is not None:
            raise self._fault
        self.did("run", True)

    def stop(self) -> None:
        self.did("remove", False)

    def did(self, deed: str, running: bool) -> None:
        self.deeds.append(deed)
        self.running = running


class FakeEngineContainer:
    def __init__(self, outer: FakeContainer) -> None:
        self._outer = outer

    def start(self) -> None:
        self._outer.did("start", True)

    def stop(self, timeout: int) -> None:
        self._outer.did("stop", False)

    def kill(self) -> None:
        self._outer.did("kill", False)
