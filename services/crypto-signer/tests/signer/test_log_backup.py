"""The log's keys in the signer's backup: shares alone open them, and the drill signs with them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from grace_common.contract.errors import Refused
from grace_common.runtime.root_seal import BEFORE, LEADING, LEAST, LogKeys, SealedLogKeys
from grace_common.transparency.checkpoint import Checkpoint, sign_checkpoint
from grace_common.transparency.note import VerifierKey
from grace_crypto_signer import key_commands
from grace_crypto_signer.adapters import backup_file, key_files, log_keys, root_files
from grace_crypto_signer.adapters.backup_file import Backup
from grace_crypto_signer.adapters.share_files import HeldShare
from grace_crypto_signer.drill import drill
from grace_crypto_signer.ports import SealedEpoch
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings

from .examples import private_key
from .test_backup import DOMAIN, settings_of
from .test_log_succession import ORIGIN, prepared
from .test_succession import hand_out, with_shares


def pem(word: str) -> bytes:
    return private_key(word).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def vkey(word: str) -> VerifierKey:
    return VerifierKey(ORIGIN, private_key(word).public_key().public_bytes_raw())


NOTE = sign_checkpoint(Checkpoint(ORIGIN, 7, bytes(32)), vkey("first"), private_key("first").sign)
FILES = {LEADING: pem("first"), BEFORE: pem("before")}
VKEYS = {LEADING: str(vkey("first")), BEFORE: str(vkey("before"))}


@dataclass(frozen=True)
class Kept:
    """A signer whose root exists as shares, with a backup that the log's keys are in, and one without them."""

    settings: Settings
    shares: list[HeldShare]
    file: Path
    old: Path
    log_folder: Path

    def request(self, **more: object) -> KeyRequest:
        wanted = {"file": self.file, "level": None, "log_folder": self.log_folder, **more}
        return with_shares(self.shares[:3]).model_copy(update=wanted)

    def elsewhere(self, name: str) -> Settings:
        return settings_of(self.file.parent / name)

    def sealed(self, files: dict[str, bytes] = FILES, vkeys: dict[str, str] = VKEYS) -> SealedLogKeys:
        public = root_files.read_public(self.settings.state_dir)
        return SealedLogKeys.seal(LogKeys(files, NOTE), vkeys, public.opening_key, public.id)

    def backup(self, log: SealedLogKeys | None) -> Backup:
        folder = self.settings.state_dir
        kek = key_files.open_kek(folder, self.settings.passphrase_file)
        begin = datetime(1970, 1, 1, tzinfo=UTC)
        epoch = SealedEpoch(1, begin, kek.id, *kek.seal(bytes(range(32)), "grace/epoch-seed/v1|1"))
        return backup_file.make(folder, kek, [epoch], [], begin, log)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    settings = prepared(settings_of(tmp_path))
    kept = Kept(settings, hand_out(settings), tmp_path / "new.json", tmp_path / "old.json", tmp_path / "audit-log")
    kept.file.write_bytes(kept.backup(kept.sealed()).encode())
    kept.old.write_bytes(kept.backup(None).encode())
    return kept


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_the_drill_signs_a_checkpoint_with_the_logs_key(kept: Kept) -> None:
    answer = await key_commands.drill(kept.settings, kept.request())

    assert answer["log_key"] == str(vkey("first"))
    assert not kept.log_folder.exists()
    for data in FILES.values():
        assert data not in kept.file.read_bytes()
        assert data.splitlines()[1] not in kept.file.read_bytes()


async def test_the_keys_are_put_back_for_the_audit_log_alone_to_read(kept: Kept) -> None:
    answer = await key_commands.restore(kept.elsewhere("other"), kept.request())

    assert {name: answer[name] for name in answer if name.startswith("log")} == {
        "log": "restored",
        "log_folder": str(kept.log_folder),
        "log_entries": 7,
    }
    assert modes(kept.log_folder) == {LEADING: 0o600, BEFORE: 0o600, LEAST: 0o600}
    assert {name: (kept.log_folder / name).read_bytes() for name in FILES} == FILES
    assert (kept.log_folder / LEAST).read_bytes() == NOTE
    assert kept.log_folder.stat().st_mode & 0o777 == 0o700


async def test_keys_of_a_log_that_are_there_are_never_overwritten(kept: Kept) -> None:
    kept.log_folder.mkdir()
    (kept.log_folder / LEADING).write_bytes(pem("another"))

    answer = await key_commands.restore(kept.elsewhere("other"), kept.request())
    with pytest.raises(Refused, match=r"holds keys of a log already .log-key\.pem.*move them away"):
        await key_commands.restore(kept.settings, kept.request(level="log"))

    assert answer["log"] == "left as it is"
    assert modes(kept.log_folder).keys() == {LEADING}
    assert (kept.log_folder / LEADING).read_bytes() == pem("another")


async def test_where_the_logs_keys_alone_were_lost_they_alone_are_put_back_and_begun_again_it_goes_on(
    kept: Kept,
) -> None:
    before = {file.name: file.read_bytes() for file in kept.settings.state_dir.iterdir()}
    kept.log_folder.mkdir()
    (kept.log_folder / BEFORE).write_bytes(FILES[BEFORE])  # of a restoration that was cut short

    answers = [await key_commands.restore(kept.settings, kept.request(level="log")) for _ in range(2)]

    assert [answer["log"] for answer in answers] == ["restored", "restored"]
    assert modes(kept.log_folder).keys() == {LEADING, BEFORE, LEAST}
    assert {file.name: file.read_bytes() for file in kept.settings.state_dir.iterdir()} == before
    with pytest.raises(Refused, match="names no log_folder"):
        await key_commands.restore(kept.settings, kept.request(level="log", log_folder=None))


async def test_a_backup_without_the_logs_keys_restores_and_says_so(kept: Kept) -> None:
    old = kept.request(file=kept.old)
    assert "log" not in orjson.loads(kept.old.read_bytes())

    drilled = await key_commands.drill(kept.settings, old)
    restored = await key_commands.restore(kept.elsewhere("other"), old)
    unnamed = await key_commands.restore(kept.elsewhere("third"), kept.request(log_folder=None))

    assert drilled["log_key"] is None
    assert (restored["log"], unnamed["log"]) == ("not in the backup", "no folder named")
    assert not kept.log_folder.exists()
    with pytest.raises(Refused, match="holds no key of the log"):
        await key_commands.restore(kept.settings, kept.request(file=kept.old, level="log"))


@pytest.mark.parametrize(
    ("files", "vkeys", "why"),
    [
        ({**FILES, LEADING: pem("other")}, VKEYS, "is not the key that the backup names"),
        ({**FILES, LEADING: b"no key"}, VKEYS, "holds no Ed25519 key"),
        ({BEFORE: pem("before")}, {BEFORE: VKEYS[BEFORE]}, "what is sealed as the log's keys"),
        (FILES, {**VKEYS, LEADING: str(vkey("other"))}, "is not the key that the backup names"),
    ],
)
async def test_keys_that_do_not_sign_for_their_vkeys_fail_the_drill_and_are_not_put_back(
    files: dict[str, bytes], vkeys: dict[str, str], why: str, kept: Kept
) -> None:
    made = replace(kept.backup(None), log=kept.sealed(files, vkeys))
    kept.file.write_bytes(made.encode())

    with pytest.raises(Refused, match=why):
        drill(made, kept.shares[:3], DOMAIN)
    other = kept.elsewhere("other")
    with pytest.raises(Refused, match=why):
        await key_commands.restore(other, kept.request())
    assert not other.state_dir.exists()
    assert not kept.log_folder.exists()


def test_the_keys_of_another_grace_do_not_come_into_the_backup(kept: Kept) -> None:
    with pytest.raises(Refused, match="those of another Grace"):
        kept.backup(kept.sealed({LEADING: pem("other")}, {LEADING: str(vkey("other"))}))
    with pytest.raises(Refused, match="is no vkey"):
        kept.backup(SealedLogKeys({}, b""))
    log_keys.require_listed(kept.sealed(), None)  # before the first key directory nobody can tell


def test_the_other_roots_shares_do_not_open_it(kept: Kept) -> None:
    public = root_files.read_public(kept.settings.state_dir)
    root = public.combine(kept.shares[:3])

    assert log_keys.opened(kept.sealed(), root).files == FILES
    with pytest.raises(Refused, match="does not open with the root"):
        log_keys.opened(replace(kept.sealed(), sealed=kept.sealed().sealed[:-1] + b"?"), root)
