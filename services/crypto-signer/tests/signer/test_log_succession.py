"""The log's own key by the signer: listed beside the one before, ended when the witness goes by the newer one."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.database import Database
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.checkpoint import Checkpoint, sign_checkpoint
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.witness import Seen, open_signed
from grace_crypto_signer import key_commands
from grace_crypto_signer.adapters import directory_files, key_files, root_files
from grace_crypto_signer.adapters.keystore import FileKeys
from grace_crypto_signer.adapters.sealing import LiveKek
from grace_crypto_signer.adapters.witness_store import PostgresWitnessMemory
from grace_crypto_signer.ports import Witnessed
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings

from .examples import TIME
from .test_backup import DOMAIN, settings_of
from .test_succession import hand_out, with_shares

ORIGIN = "grace.local/log"
FIRST, SECOND, THIRD = SeededKey("first"), SeededKey("second"), SeededKey("third")
OLD, NEW, NEXT = (key.named(ORIGIN) for key in (FIRST, SECOND, THIRD))
RETIRE = KeyRequest(level="log")


def prepared(settings: Settings) -> Settings:
    """A signer whose directory lists the log's first key."""
    key_files.create(settings.state_dir, settings.passphrase_file, DOMAIN, FixedClock(TIME))
    settings.publication_dir.mkdir(exist_ok=True)
    (settings.publication_dir / "vkey").write_text(f"{OLD}\n")
    keys_of(settings).renew(TIME)
    return settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return prepared(settings_of(tmp_path))


def keys_of(settings: Settings) -> FileKeys:
    reopen = partial(key_files.open_kek, settings.state_dir, settings.passphrase_file)
    return FileKeys(settings, LiveKek(reopen(), reopen))


def newest(settings: Settings) -> KeyDirectory:
    found = directory_files.newest(settings.state_dir)
    assert found is not None
    return found


def listing(key: VerifierKey) -> KeyRequest:
    return KeyRequest(level="log", log_key=str(key))


async def test_both_keys_are_listed_and_the_command_begun_again_changes_nothing(settings: Settings) -> None:
    answer = await key_commands.rotate(settings, listing(NEW))
    again = await key_commands.rotate(settings, listing(NEW))

    assert answer == again == {"level": "log", "log_key": str(NEW), "directory": 2}
    assert newest(settings).log_keys(ORIGIN, in_use=True) == [OLD, NEW]
    assert keys_of(settings).log_keys(ORIGIN) == [OLD, NEW]
    told = (await key_commands.status(settings, KeyRequest()))["log"]
    assert [(key["log_key"], key["not_after"]) for key in told] == [(str(OLD), None), (str(NEW), None)]


async def test_what_makes_no_sense_is_refused_and_says_what_to_do(tmp_path: Path, settings: Settings) -> None:
    for request, why in (
        (KeyRequest(level="log"), "python -m grace_audit_log key rotate"),
        (KeyRequest(level="log", log_key="no key"), "is no vkey"),
        (listing(SECOND.named("another/log")), "`grace keys directory` lists the first"),
    ):
        with pytest.raises(Refused, match=why):
            await key_commands.rotate(settings, request)
    with pytest.raises(Refused, match="`grace keys rotate log` makes its successor first"):
        await key_commands.retire(settings, RETIRE)
    with pytest.raises(Refused, match="only `log` and `ca` are retired"):
        await key_commands.retire(settings, KeyRequest(level="notary"))
    await key_commands.rotate(settings, listing(NEW))
    with pytest.raises(Refused, match="`grace keys retire log`"):
        await key_commands.rotate(settings, listing(NEXT))
    assert newest(settings).version == 2

    new = tmp_path / "new"
    new.mkdir()
    without = settings_of(new)
    key_files.create(without.state_dir, without.passphrase_file, DOMAIN, FixedClock(TIME))
    with pytest.raises(Refused, match="lists no key of the log"):
        await key_commands.rotate(without, listing(NEW))


async def test_a_key_that_lies_beside_the_log_is_listed_only_while_none_is(settings: Settings) -> None:
    (settings.publication_dir / "vkey").write_text(f"{SeededKey('thief').named(ORIGIN)}\n")

    keys_of(settings).renew(TIME + timedelta(days=1))

    assert newest(settings).log_keys(ORIGIN) == [OLD]
    assert newest(settings).version == 1


async def test_a_root_that_exists_as_shares_is_needed_to_list_and_to_end_a_key(settings: Settings) -> None:
    shares = hand_out(settings)
    with pytest.raises(Refused, match="bring three"):
        await key_commands.rotate(settings, listing(NEW))
    assert newest(settings).log_keys(ORIGIN) == [OLD]

    request = with_shares(shares[:3]).model_copy(update={"level": "log", "log_key": str(NEW)})
    assert (await key_commands.rotate(settings, request))["directory"] == 2
    with pytest.raises(Refused, match="bring three"):
        await key_commands.retire(settings, RETIRE)


async def test_the_witness_goes_on_with_what_was_listed_while_the_root_is_replaced(settings: Settings) -> None:
    await key_commands.rotate(settings, listing(NEW))
    keys = keys_of(settings)
    assert keys.log_keys(ORIGIN) == [OLD, NEW]
    kek = key_files.open_kek(settings.state_dir, settings.passphrase_file)
    old, new = root_files.load(settings.state_dir, kek), root_files.prepare(settings.state_dir, kek)
    assert old is not None
    vault = key_files.open_vault(settings.state_dir, kek, DOMAIN)
    directory_files.succeed(settings.state_dir, vault, old, new, None, TIME, timedelta(days=365))

    assert keys.log_keys(ORIGIN) == [OLD, NEW]
    assert keys_of(settings).log_keys(ORIGIN) == []


async def witness(database: Database, size: int, trusted: VerifierKey, *signers: SeededKey) -> None:
    """Let the witness remember a checkpoint of these signers."""
    memory = PostgresWitnessMemory(database)
    first, *others = [(key.named(ORIGIN), key.sign) for key in signers]
    note = sign_checkpoint(Checkpoint(ORIGIN, size, bytes([size]) * 32), *first, *others)
    tree = open_signed(note, [OLD, NEW])
    known = await memory.newest(ORIGIN)
    await memory.keep(Witnessed(trusted, known.tree if known else Seen()), tree, tree.note)


async def test_the_older_key_ends_once_the_witness_goes_by_the_newer_one_and_never_comes_back(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    settings = prepared(settings_of(tmp_path, database_url))
    await key_commands.rotate(settings, listing(NEW))
    with pytest.raises(Unready, match="wait until the ledger has the version"):
        await key_commands.retire(settings, RETIRE)
    await witness(database, 3, OLD, FIRST)
    with pytest.raises(Unready, match="signed beside the key before it"):
        await key_commands.retire(settings, RETIRE)
    await witness(database, 4, NEW, SECOND, FIRST)

    answer = await key_commands.retire(settings, RETIRE)

    assert answer == {"level": "log", "log_key": str(NEW), "ended": [str(OLD)], "directory": 3}
    assert newest(settings).log_keys(ORIGIN, in_use=True) == [NEW]
    assert newest(settings).log_keys(ORIGIN) == [OLD, NEW]
    with pytest.raises(Refused, match=f"in use is {NEW.name}"):
        await key_commands.retire(settings, RETIRE)
    with pytest.raises(Refused, match="a key that ended does not come back"):
        await key_commands.rotate(settings, listing(OLD))
    keys_of(settings).renew(TIME)  # the vkey beside the log may still be the older one
    assert newest(settings).log_keys(ORIGIN, in_use=True) == [NEW]
    assert (await key_commands.rotate(settings, listing(NEXT)))["directory"] == 4
