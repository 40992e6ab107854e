"""What is shown while the stack starts and stops."""

from io import StringIO

from grace_cli.stack.status import ChildStatus, StackStatus, State
from grace_cli.stack.watch import Watch, follow, picture
from rich.console import Console


def status(*children: ChildStatus, stopping: bool = False) -> StackStatus:
    return StackStatus(1, 1.0, children=list(children), stopping=stopping)


def drawn(shown: StackStatus, ascii_only: bool = False) -> list[str]:
    console = Console(width=100, file=StringIO())
    with console.capture() as captured:
        console.print(picture(shown, "Starting Grace", 3.2, ascii_only))
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def test_each_change_is_told_once() -> None:
    seen: dict[str, str] = {}
    starting = status(ChildStatus("kafka", State.STARTING))
    assert follow(seen, starting) == ["kafka is starting"]
    assert follow(seen, starting) == []


def test_children_that_change_together_are_told_in_one_sentence() -> None:
    names = ("kafka", "postgres", "gateway")
    assert follow({}, status(*(ChildStatus(name, State.STARTING) for name in names))) == [
        "kafka, postgres and gateway are starting"
    ]
    assert follow({}, status(*(ChildStatus(name, State.STARTING) for name in names[:2]))) == [
        "kafka and postgres are starting"
    ]


def test_neither_waiting_nor_what_was_ready_before_is_told() -> None:
    seen: dict[str, str] = {}
    assert follow(seen, status(ChildStatus("kafka", State.READY), ChildStatus("gateway", State.WAITING))) == []
    assert follow(seen, status(ChildStatus("kafka", State.READY), ChildStatus("gateway", State.READY))) == [
        "gateway is ready"
    ]


def test_of_a_stack_that_stops_only_what_has_stopped_is_told() -> None:
    children = ChildStatus("kafka", State.STARTING), ChildStatus("gateway", State.STOPPED)
    assert follow({}, status(*children, stopping=True)) == ["gateway is stopped"]


def test_each_failure_of_what_prepares_a_child_is_told() -> None:
    seen: dict[str, str] = {}
    for detail in ("migrating tables", "migrating tables: no space; again in 1 s"):
        assert follow(seen, status(ChildStatus("gateway", State.PREPARING, detail=detail))) == [
            f"gateway is preparing ({detail})"
        ]


def test_the_picture_says_of_each_child_what_it_is_doing() -> None:
    shown = status(
        ChildStatus("kafka", State.READY),
        ChildStatus("audit-log", State.PREPARING, detail="migrating tables"),
        ChildStatus("code-gen", State.STARTING, detail="broker: not there"),
        ChildStatus("gateway", State.WAITING, detail="for the certificates"),
        ChildStatus("consensus", State.RESTARTING, detail="it ended with code 3; next start in 2 s"),
    )
    lines = drawn(shown)
    assert lines[:2] == ["Starting Grace (3 s)", "✓ kafka ready"]
    assert lines[2].endswith("audit-log migrating tables")
    assert lines[3].endswith("code-gen starting: broker: not there")
    assert lines[4:] == [
        "· gateway waiting for the certificates",
        "! consensus restarting: it ended with code 3; next start in 2 s",
    ]


def test_a_terminal_without_such_signs_gets_plain_ones() -> None:
    shown = status(ChildStatus("kafka", State.READY), ChildStatus("gateway", State.WAITING), stopping=False)
    assert drawn(shown, ascii_only=True)[1:] == ["+ kafka ready", ". gateway waiting"]


def test_while_it_stops_every_living_child_is_stopping() -> None:
    shown = status(ChildStatus("kafka", State.READY), ChildStatus("gateway", State.STOPPED), stopping=True)
    assert [line.split(" ", 1)[-1] for line in drawn(shown)[1:]] == ["kafka stopping", "stopped"]


def test_on_a_terminal_the_picture_is_gone_at_the_end() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=60)
    with Watch(console, "Starting Grace") as watch:
        watch.show(status(ChildStatus("kafka", State.STARTING)))
        watch.show(status(ChildStatus("kafka", State.READY)))
    assert "Starting Grace" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")


def test_elsewhere_each_line_says_after_how_many_seconds() -> None:
    out = StringIO()
    with Watch(Console(file=out), "Starting Grace") as watch:
        watch.show(status(ChildStatus("kafka", State.STARTING)))
    seconds, unit, said = out.getvalue().split(maxsplit=2)
    assert float(seconds) >= 0
    assert (unit, said) == ("s", "kafka is starting\n")
