"""`grace ledger verify`, from the words of the command line to the sentences it prints.

In its usual form it runs from here, without the command line's framework, whose import takes as long as verifying a
hundred thousand entries. `grace_cli.commands.ledger` declares the command, and answers help, wrong usage and the
other options.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Refused, Unready

from grace_cli import offline
from grace_cli.entries_bar import entries_bar
from grace_cli.errors import CliError, Exit
from grace_cli.log_files import KEEP_IT, open_log, read_log_key
from grace_cli.verifying import CORES, MOST_PROCESSES
from grace_cli.verifying.command import Wanted, verify_database, verify_files
from grace_cli.verifying.whole_log import Findings

_SHOWN: Final = 10  # faults in a message


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for; its options by their names."""

    where: str | None = None
    database: bool = False
    log_key: str | None = None
    ca: Path | None = None
    since: Path | None = None
    resume: Path | None = None
    witness_policy: Path | None = None
    tree_only: bool = False
    processes: int = CORES
    as_json: bool = False
    earlier_keys: tuple[str, ...] = ()


def verified_at_once(words: Sequence[str]) -> bool:
    """Run `ledger verify DIR|URL [--log-key VKEY|FILE] [--tree-only] [--processes N] [--json]`; False for other words.

    raises  CliError as the command does
    """
    places: list[str] = []
    given: dict[str, str] = {}
    waiting = list(words[2:])
    while waiting:
        name, equals, value = waiting.pop(0).partition("=")
        if name in ("--log-key", "--processes") and (equals or waiting) and name not in given:
            given[name] = value if equals else waiting.pop(0)
        elif name in ("--tree-only", "--json") and not equals:
            given[name] = ""
        elif name.startswith("-"):
            return False
        else:
            places.append(name + equals + value)
    processes = given.get("--processes", str(CORES))
    if len(places) != 1 or not processes.isdecimal() or not 1 <= int(processes) <= MOST_PROCESSES:
        return False
    key, tree_only, as_json = given.get("--log-key"), "--tree-only" in given, "--json" in given
    verify(Asked(places[0], log_key=key, tree_only=tree_only, processes=int(processes), as_json=as_json))
    return True


def verify(asked: Asked) -> None:
    """Verify a log and print what was found; raises CliError when it is not whole."""
    log = open_log(asked.where)
    policy = offline.read_policy(asked.witness_policy)
    key = read_log_key(asked.log_key, log, str(log), asked.earlier_keys)
    wanted = Wanted(key, asked.ca, asked.since, asked.resume, asked.tree_only, asked.processes, policy)
    what = "the log's database" if asked.database else f"the log at {log}"
    try:
        with entries_bar(asked.as_json) as bar:
            if asked.database:
                url, signer_url = database_urls()
                report = verify_database(url, log, wanted, bar.begin, bar.advance, signer_url)
            else:
                report = verify_files(log, wanted, bar.begin, bar.advance)
    except (Refused, Unready) as error:
        raise CliError(f"{what} is broken: {error}", KEEP_IT) from error
    _tell(report.findings, what)
    if asked.as_json:
        print(json.dumps(report.described(), ensure_ascii=False))
        return
    for sentence in report.sentences():
        print(sentence)


def database_urls() -> tuple[str, str | None]:
    """Return where the audit-log's tables and the crypto-signer's are: GRACE_DATABASE_URL's, else the local stack's."""
    from grace_cli.stack.credentials import read_env_file
    from grace_cli.stack.home import find_home
    from grace_cli.stack.provision import named_database

    if url := os.environ.get("GRACE_DATABASE_URL"):
        return named_database(url), named_database(url)
    home = find_home(os.environ, Path.cwd())
    if not (url := read_env_file(home.credentials / "audit-log.env").get("GRACE_DATABASE_URL")):
        raise CliError(
            f"no database is known in {home.root}",
            "start the stack once (grace up), or name a PostgreSQL in GRACE_DATABASE_URL",
            Exit.NOT_RUNNING,
        )
    return url, read_env_file(home.credentials / "crypto-signer.env").get("GRACE_DATABASE_URL")


def _tell(findings: Findings, what: str) -> None:
    """Raise CliError when something was found."""
    if not findings.faults:
        return
    faults = sorted(set(findings.faults))
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    raise CliError(f"{what} is broken: {'; '.join(fault.text for fault in faults[:_SHOWN])}{more}", KEEP_IT)
