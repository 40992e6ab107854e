"""Settings come from the environment; what is wrong is named, and no value is ever shown."""

import json
import os
import subprocess
import sys

import pytest
from grace_common.contract.errors import Refused
from grace_common.runtime.database import async_url
from grace_common.runtime.settings import Settings

CANARY = "hunter2-s3cret"
GOOD = {
    "GRACE_SERVICE": "consensus",
    "GRACE_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "GRACE_DATABASE_URL": f"postgresql://consensus:{CANARY}@127.0.0.1:5432/grace",
    "GRACE_KAFKA_PASSWORD": CANARY,
    "GRACE_IDENTITY_DIR": "/nowhere",
    "GRACE_STATE_DIR": "/nowhere",
    "GRACE_PUBLICATION_DIR": "/nowhere",
    "GRACE_SCHEMAS_DIR": "/nowhere",
    "GRACE_HTTP_PORT": "0",
}
SHOW = """
import json
from grace_common.contract.errors import Refused
from grace_common.runtime.settings import Settings
try:
    settings = Settings.load()
    print(json.dumps([settings.service, settings.http_port, repr(settings), settings.model_dump_json()]))
except Refused as refused:
    print(json.dumps(str(refused)))
"""


def loaded(environment: dict[str, str]) -> str:
    """What a process with this environment prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRACE_")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_settings_are_read_from_the_environment_and_hide_their_secrets() -> None:
    shown = loaded(GOOD)

    assert json.loads(shown)[:2] == ["consensus", 0]
    assert CANARY not in shown


def test_a_process_knows_every_secret_that_it_was_told_as_it_may_stand_in_a_text() -> None:
    url = "postgresql://consensus:p%40ssword@127.0.0.1:5432/grace"
    settings = Settings.model_validate(
        {name.removeprefix("GRACE_").lower(): value for name, value in GOOD.items()} | {"database_url": url}
    )

    assert settings.secrets == {CANARY, url, "p%40ssword", "p@ssword"}


def test_every_setting_that_is_missing_or_malformed_is_named_and_none_is_shown() -> None:
    shown = loaded({"GRACE_DATABASE_URL": GOOD["GRACE_DATABASE_URL"], "GRACE_HTTP_PORT": CANARY})

    for name in ("service: Field required", "kafka_bootstrap", "http_port: Input should be a valid integer"):
        assert name in shown
    assert "set them as GRACE_<NAME> in the environment" in shown
    assert CANARY not in shown


def test_a_database_url_becomes_one_for_asyncpg() -> None:
    url = async_url("postgresql://consensus:p%40ss@db:5433/grace")

    assert (url.drivername, url.username, url.password) == ("postgresql+asyncpg", "consensus", "p@ss")


@pytest.mark.parametrize("url", ["mysql://u:{}@h/d", "{}", "postgresql://u:p@h:{}/d", ""])
def test_what_is_no_database_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Refused, match="GRACE_DATABASE_URL") as refused:
        async_url(url.format(CANARY))
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None
