"""The contracts on imports are made from the tree: every service that is there is held to them, and they hold."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from tools import boundaries

ROOT = Path(__file__).parents[2]


@pytest.fixture
def contracts() -> ConfigParser:
    parser = ConfigParser()
    parser.read_string(boundaries.configuration())
    return parser


def lines(text: str) -> set[str]:
    return set(text.split())


def test_every_service_in_the_tree_is_held_to_every_contract(contracts: ConfigParser) -> None:
    found = {path.name for path in ROOT.glob("services/*/grace_*") if path.is_dir()}

    assert set(boundaries.packages()) == found
    assert found <= lines(contracts["importlinter"]["root_packages"])
    assert lines(contracts["importlinter:contract:independence"]["modules"]) == found
    assert found <= lines(contracts["importlinter:contract:no-testing"]["source_modules"])
    assert lines(contracts["importlinter:contract:broker-clients"]["source_modules"]) == found
    for package in found:
        assert f"importlinter:contract:layers-{package}" in contracts
        has_domain = (next(ROOT.glob(f"services/*/{package}")) / "domain").is_dir()
        assert (f"importlinter:contract:domain-{package}" in contracts) == has_domain


def test_a_domain_may_reach_nothing_that_runs(contracts: ConfigParser) -> None:
    forbidden = lines(contracts["importlinter:contract:domain-grace_consensus"]["forbidden_modules"])

    assert forbidden >= {"asyncio", "sqlalchemy", "aiokafka", "fastapi", "httpx", "grace_common.runtime"}


def test_the_contracts_hold(capfd: pytest.CaptureFixture[str]) -> None:
    assert boundaries.main() == 0
    assert "0 broken" in capfd.readouterr().out
