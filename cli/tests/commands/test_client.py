"""Speaking with the gateway: whom one acts as, retries, resuming the stream after a break."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from grace_cli.access import Access, find_access, local_key, local_url
from grace_cli.client import ATTEMPTS, Gateway
from grace_cli.errors import CliError, Exit
from grace_cli.stack.home import Home
from grace_cli.story import Story
from grace_cli.stream import FAILED_ATTEMPTS, follow

from .conftest import Run
from .fake_gateway import FakeGateway


class Pauses:
    """Waits for nothing, and remembers for how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def ada(gateway: FakeGateway) -> Access:
    return Access(gateway.url, "key-of-ada")


@pytest.fixture
def nowhere(gateway: FakeGateway) -> Access:
    """A port on which nobody listens."""
    return Access("http://127.0.0.1:9", "key")


def test_each_command_has_a_usual_user_and_as_names_another(home: Home, gateway: FakeGateway) -> None:
    environ = {"GRACE_HOME": str(home.root)}

    assert find_access(environ, Path(), None, "olga") == Access(gateway.url, "key-of-olga")
    assert find_access(environ, Path(), "ada", "olga").key == "key-of-ada"
    assert find_access(environ | {"GRACE_API_KEY": "mine"}, Path(), None, "olga").key == "mine"
    assert find_access(environ | {"GRACE_API_KEY": "mine"}, Path(), "ada", "olga").key == "key-of-ada"
    assert "key-of-olga" not in repr(find_access(environ, Path(), None, "olga"))


def test_a_remote_gateway_gets_its_own_key_and_never_a_local_one(home: Home) -> None:
    remote = {"GRACE_HOME": str(home.root), "GRACE_URL": "https://grace.example.org/"}

    found = find_access(remote | {"GRACE_API_KEY": "theirs"}, Path(), None, "ada")
    assert found == Access("https://grace.example.org", "theirs", local=False)
    for environ, user in ((remote, None), (remote | {"GRACE_API_KEY": "theirs"}, "ada")):
        with pytest.raises(CliError) as refused:
            find_access(environ, Path(), user, "ada")
        assert refused.value.code == Exit.USAGE
    with pytest.raises(CliError, match="ftp"):
        find_access({"GRACE_URL": "ftp://grace.example.org", "GRACE_API_KEY": "x"}, Path(), None, "ada")


def test_a_stack_that_does_not_run_and_users_that_do_not_exist_are_named(home: Home) -> None:
    with pytest.raises(CliError, match="no local user 'eve'"):
        local_key(home, "eve")
    (home.credentials / "api-keys.json").write_text("{")
    with pytest.raises(CliError, match="cannot be read"):
        local_key(home, "ada")
    (home.credentials / "api-keys.json").unlink()
    with pytest.raises(CliError, match="does not exist"):
        local_key(home, "ada")
    status = json.loads(home.status.read_text())
    home.status.write_text(json.dumps(status | {"url": ""}))
    with pytest.raises(CliError, match="no address yet"):
        local_url(home)
    home.status.unlink()
    with pytest.raises(CliError, match="not running") as missing:
        local_url(home)
    assert missing.value.code == Exit.NOT_RUNNING


def test_what_heals_by_waiting_is_asked_again_as_told_under_the_same_key(gateway: FakeGateway, ada: Access) -> None:
    gateway.refusals = [(503, {"Retry-After": "3"}), (429, {}), (409, {"Retry-After": "1"})]
    pauses = Pauses()

    with Gateway(ada, pauses) as client:
        view = client.post("/api/tasks", {"requirements": "x"})

    assert view["state"] == "submitted"
    assert pauses.seconds == [3.0, 0.4, 1.0]
    assert len(gateway.keys_used) == 4
    assert len(set(gateway.keys_used)) == 1


REFUSED_AT_ONCE = {401: Exit.REFUSED, 403: Exit.REFUSED, 404: Exit.REFUSED, 409: Exit.REFUSED, 422: Exit.REFUSED}


@pytest.mark.parametrize(("status", "code"), [*REFUSED_AT_ONCE.items(), (500, Exit.FAILED)])
def test_a_refusal_is_final_and_has_its_exit_code(gateway: FakeGateway, ada: Access, status: int, code: Exit) -> None:
    gateway.refusals = [(status, {})] * 2

    with Gateway(ada) as client, pytest.raises(CliError) as refused:
        client.get("/api/tasks")

    assert refused.value.code == code
    assert refused.value.advice
    assert len(gateway.refusals) == 1


def test_a_gateway_that_stays_overloaded_or_away_is_given_up(
    gateway: FakeGateway, ada: Access, nowhere: Access
) -> None:
    gateway.refusals = [(503, {"Retry-After": "60"})] * ATTEMPTS
    pauses = Pauses()

    with Gateway(ada, pauses) as client, pytest.raises(CliError) as busy:
        client.get("/api/tasks")
    with Gateway(nowhere, pauses) as client, pytest.raises(CliError) as away:
        client.get("/api/tasks")

    assert busy.value.code == Exit.NOT_READY
    assert away.value.code == Exit.NOT_RUNNING
    assert "does not answer" in away.value.message
    assert max(pauses.seconds) == 10.0


def story_of(gateway: FakeGateway, ada: Access) -> Story:
    with Gateway(ada) as client:
        return Story.of_view(client.post("/api/tasks", {"requirements": "x"}))


def test_after_every_break_the_stream_goes_on_behind_the_last_fact(gateway: FakeGateway, ada: Access) -> None:
    story = story_of(gateway, ada)
    gateway.until(story.task_id, "approach-proposed")
    gateway.run_round(story.task_id)
    gateway.break_after = [0, 1, 3]

    heard = []
    for fact in follow(ada, story.task_id, story.newest, Pauses()):
        heard.append(fact["id"])
        if fact["type"] == "grace.approval-requested.v1":
            break

    stated = [str(fact.id) for fact in gateway.facts[story.task_id]]
    assert heard == stated[1:]
    assert gateway.subscriptions == [stated[0], stated[0], stated[1], stated[4]]


def test_a_fact_that_cannot_be_resumed_from_yet_is_waited_for(gateway: FakeGateway, ada: Access) -> None:
    pauses = Pauses()

    with pytest.raises(CliError, match="no event") as gone:
        next(follow(ada, str(uuid4()), str(uuid4()), pauses))

    assert gone.value.code == Exit.REFUSED
    assert len(pauses.seconds) == FAILED_ATTEMPTS - 1


def test_a_stream_is_refused_at_once_to_strangers(gateway: FakeGateway, ada: Access) -> None:
    story = story_of(gateway, ada)

    with pytest.raises(CliError, match="unknown or was revoked"):
        next(follow(Access(gateway.url, "key-of-eve"), story.task_id, story.newest, Pauses()))


def test_a_stream_that_cannot_be_had_is_given_up(nowhere: Access) -> None:
    with pytest.raises(CliError, match="cannot be had") as lost:
        next(follow(nowhere, "task", "fact", Pauses()))

    assert lost.value.code == Exit.NOT_RUNNING
    assert lost.value.advice.endswith("grace watch task")


def test_an_outage_in_the_middle_does_not_end_a_command(run: Run, gateway: FakeGateway) -> None:
    gateway.break_after = [1]
    gateway.refusals = [(503, {"Retry-After": "0"})]

    assert "it waits for guidance" in run("submit", "Double it", "--wait").out
