"""The versions of the public key directory, as files: `directory-0001.json` and on, each as the root signed it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.directory import (
    DirectoryKey,
    KeyDirectory,
    digest_of,
    follow,
    open_directory,
    sign_directory,
)
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import key_id

from grace_crypto_signer.adapters import key_files, root_files
from grace_crypto_signer.adapters.key_files import Vault
from grace_crypto_signer.adapters.sealing import write_private_once
from grace_crypto_signer.domain.root import Root

VKEY: Final = "vkey"  # as the audit-log publishes it beside the log


class SignedMeanwhile(Refused):
    """Another process has signed a version of the same number, which may be in the ledger by now."""


def signed_versions(folder: Path) -> list[bytes]:
    """Return every version, the first one first."""
    return [file.read_bytes() for file in files(folder)]


def files(folder: Path) -> list[Path]:
    """Return the files of all versions, the first one first."""
    return sorted(folder.glob("directory-[0-9]*.json"), key=lambda file: int(file.stem.removeprefix("directory-")))


def signed_by(folder: Path, root: bytes) -> int:
    """Return how many versions name a root, by its public key, as the one that signed them; raises Refused."""
    return sum(KeyDirectory.parse(DsseEnvelope.parse(one).payload).root == root for one in signed_versions(folder))


def newest(folder: Path) -> KeyDirectory | None:
    """Return the newest version, once all of them are verified from the first; raises Refused."""
    versions = signed_versions(folder)
    if not versions:
        return None
    # From the root of the first, through every change of it that both roots signed, to the one there is now.
    found = follow(versions[0], KeyDirectory.parse(DsseEnvelope.parse(versions[0]).payload).root, versions[1:])
    if found.version != len(versions):
        raise Refused(f"{folder} has {len(versions)} versions of the key directory, and the newest is {found.version}")
    root = root_files.read_public(folder)
    if found.root != root.public_key:
        raise Refused(
            f"version {found.version} of the key directory is the root's {key_id(found.root)}, and this one is "
            f"{root.id}: where the root is being replaced, `grace keys rotate root` goes on with it"
        )
    return found


def adopt(folder: Path, publication: Path) -> int:
    """Take over the versions that lie beside the log and that this folder lacks: an older copy of it was put back.

    returns  how many; none into a folder without a root, which is filled yet
    raises   Refused when they do not follow those here, or the root was replaced since: no other version may be signed
    """
    if not root_files.public_file(folder).exists():
        return 0
    own = signed_versions(folder)
    newer = [file.read_bytes() for file in _published_after(publication, len(own))]
    if not newer:
        return 0
    root = root_files.read_public(folder)
    known, *following = [*own[-1:], *newer]
    found = follow(known, KeyDirectory.parse(DsseEnvelope.parse(known).payload).root, following)
    if found.root != root.public_key or found.version != len(own) + len(newer):
        raise Refused(
            f"the log has version {found.version} of the key directory, of the root {key_id(found.root)}, and {folder} "
            f"is an older copy with the root {root.id}, or another Grace's: put back a newer one"
        )
    for version, data in enumerate(newer, len(own) + 1):
        write_private_once(_file(folder, version), data)
    return len(newer)


def _published_after(publication: Path, version: int) -> Iterator[Path]:
    while (file := publication / "keys" / f"{(version := version + 1):04}.json").is_file():
        yield file


def _file(folder: Path, version: int) -> Path:
    return folder / f"directory-{version:04}.json"


def log_key(publication: Path) -> VerifierKey | None:
    """Return the log's key as it lies beside the log, None before there is a log; raises Refused."""
    try:
        return VerifierKey.parse((publication / VKEY).read_text().strip())
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None


def pending(folder: Path, vault: Vault, log: VerifierKey | None, now: datetime, life: timedelta) -> KeyDirectory | None:
    """Return the version that should come next; None while the newest says everything and lasts.

    life  of a version; the next is due when a third of it is left
    """
    known = newest(folder)
    keys = _listed(folder, vault, log, known.keys if known is not None else (), now)
    if known is not None and keys == known.keys and datetime.fromisoformat(known.expires) - now > life / 3:
        return None
    versions = signed_versions(folder)
    return KeyDirectory(
        version=len(versions) + 1,
        trust_domain=vault.authority.trust_domain,
        issued=now.isoformat(),
        expires=(now + life).isoformat(),
        root=root_files.read_public(folder).public_key,
        previous=digest_of(versions[-1]) if versions else None,
        keys=keys,
    )


def sign(folder: Path, directory: KeyDirectory, *roots: Root) -> None:
    """Sign a version and keep it.

    roots   the root; where it is replaced, the one before and the new one
    raises  Refused when it does not follow the one before, SignedMeanwhile when there is one of this number by now
    """
    public = root_files.read_public(folder)
    data = sign_directory(directory, [(root.signing.key_id, root.signing.sign) for root in roots])
    open_directory(data, public.public_key)
    before = signed_versions(folder)
    name = f"version {directory.version} of the key directory"
    if len(before) >= directory.version:
        raise SignedMeanwhile(f"{name} was signed meanwhile: give the command again")
    if before:
        follow(before[-1], public.public_key, [data])
    if not write_private_once(_file(folder, directory.version), data):
        raise SignedMeanwhile(f"{name} was signed meanwhile: give the command again")


def succeed(
    folder: Path, vault: Vault, old: Root, new: Root, log: VerifierKey | None, now: datetime, life: timedelta
) -> None:
    """Sign the version that names a new root with both roots; the root's own files are the caller's.

    raises  Refused when there is no version before: then nobody knows the old root, and none needs to be followed
    """
    versions, known = signed_versions(folder), newest(folder)
    if known is None:
        raise Refused(
            "there is no key directory yet, so nobody could learn of another root: `grace keys directory` first"
        )
    keys = _listed(folder, vault, log, known.keys, now)
    directory = KeyDirectory(
        version=known.version + 1,
        trust_domain=known.trust_domain,
        issued=now.isoformat(),
        expires=(now + life).isoformat(),
        root=new.signing.public_key,
        previous=digest_of(versions[-1]),
        keys=keys,
    )
    sign(folder, directory, old, new)


def succeeded(folder: Path, root: Root) -> bool:
    """Tell whether the newest version names this root already."""
    versions = signed_versions(folder)
    return (
        bool(versions) and KeyDirectory.parse(DsseEnvelope.parse(versions[-1]).payload).root == root.signing.public_key
    )


def renew(
    folder: Path,
    vault: Vault,
    root: Root | None,
    log: VerifierKey | None,
    now: datetime,
    life: timedelta,
    after: int | None = None,
) -> KeyDirectory | None:
    """Sign the next version where one is due; return it.

    after   how many versions there were before the vault was opened: a newer one may list keys that it does not hold
    raises  Refused when one is due and the root is not at hand, SignedMeanwhile when another process was quicker
    """
    due = pending(folder, vault, log, now, life)
    if due is None:
        return None
    if root is None:
        raise Refused(f"version {due.version} of the key directory is due, and the root exists as shares alone")
    if after is not None and due.version != after + 1:
        raise SignedMeanwhile(f"version {after + 1} of the key directory was signed while the keys were read")
    sign(folder, due, root)
    return due


def _ca_since(folder: Path, vault: Vault, certificate: x509.Certificate) -> datetime:
    """Return since when a CA is; of one that does not certify, not yet or no more, only its certificate says so."""
    certifies = certificate == vault.authority.certificate
    return key_files.made_at(folder, "ca") if certifies else certificate.not_valid_before_utc


def succeed_log(
    folder: Path, vault: Vault, root: Root, successor: VerifierKey, now: datetime, life: timedelta
) -> KeyDirectory:
    """Sign the version that lists another key of the log beside the one there is; begun again it is the one signed.

    raises  Refused when none of this log is listed, two are in use, or the key ended before
    """
    known = newest(folder)
    in_use = known.log_keys(successor.name, in_use=True) if known is not None else []
    if known is None or not in_use:
        raise Refused(
            f"the key directory lists no key of the log {successor.name} that is in use, so none can be succeeded: "
            "`grace keys directory` lists the first"
        )
    if successor in in_use:
        return known
    if successor in known.log_keys(successor.name):
        raise Refused(f"the log's key {successor} has ended: a key that ended does not come back")
    if len(in_use) > 1:
        raise Refused(
            f"the key directory lists {len(in_use)} keys of the log {successor.name} in use already: end the older "
            "first with `grace keys retire log`"
        )
    listed = DirectoryKey("log", successor.public_key, now.isoformat(), name=successor.name)
    keys = (*_listed(folder, vault, None, known.keys, now), listed)
    return _signed_next(folder, known, keys, root, now, life)


def older_log_keys(folder: Path) -> tuple[VerifierKey, list[VerifierKey]]:
    """Return the newest key of the log, and those in use that it succeeds.

    raises  Refused when there is no older one to end
    """
    known = newest(folder)
    named = (
        {} if known is None else {str(key.name): known.log_keys(str(key.name), in_use=True) for key in known.of("log")}
    )
    for keys in named.values():
        if len(keys) > 1:
            return keys[-1], keys[:-1]
    alone = ", ".join(str(key) for keys in named.values() for key in keys) or "none"
    raise Refused(
        f"no key of the log is to be ended, in use is {alone}: `grace keys rotate log` makes its successor first"
    )


def retire_log(
    folder: Path, vault: Vault, root: Root, witnessed: VerifierKey | None, now: datetime, life: timedelta
) -> KeyDirectory:
    """Sign the version that says that every key of the log but the newest has ended.

    witnessed  the key of the log that Grace's witness goes by; None: it has cosigned nothing yet
    raises     Refused when there is none to end, Unready until the witness goes by the newest
    """
    newest_key, older = older_log_keys(folder)
    if witnessed != newest_key:
        raise Unready(
            f"the witness has cosigned no checkpoint yet that {newest_key} signed beside the key before it: wait until "
            "the ledger has the version of the key directory that lists it"
        )
    known = newest(folder)
    assert known is not None  # it lists those keys
    gone = {(key.name, key.public_key) for key in older}
    keys = tuple(
        _ended(key, now) if key.purpose == "log" and (key.name, key.public_key) in gone else key
        for key in _listed(folder, vault, None, known.keys, now)
    )
    return _signed_next(folder, known, keys, root, now, life)


def _signed_next(
    folder: Path, known: KeyDirectory, keys: tuple[DirectoryKey, ...], root: Root, now: datetime, life: timedelta
) -> KeyDirectory:
    directory = KeyDirectory(
        version=known.version + 1,
        trust_domain=known.trust_domain,
        issued=now.isoformat(),
        expires=(now + life).isoformat(),
        root=known.root,
        previous=digest_of(signed_versions(folder)[-1]),
        keys=keys,
    )
    sign(folder, directory, root)
    return directory


def _listed(
    folder: Path, vault: Vault, log: VerifierKey | None, known: Sequence[DirectoryKey], now: datetime
) -> tuple[DirectoryKey, ...]:
    own = vault.own
    in_use = [
        *(
            DirectoryKey("ca", key, _ca_since(folder, vault, certificate).isoformat())
            for key, certificate in zip(vault.authorities.held_keys, vault.authorities.held, strict=True)
        ),
        DirectoryKey("notary", own.notary.public_key, key_files.made_at(folder, "notary").isoformat()),
        DirectoryKey("attestation", own.attestation.public_key, key_files.made_at(folder, "attestation").isoformat()),
        DirectoryKey(
            "witness",
            vault.witness.public_key,
            key_files.made_at(folder, "witness").isoformat(),
            name=f"{vault.authority.trust_domain}/witness",
        ),
    ]
    if log is not None and not any(each.name == log.name and each.not_after is None for each in known):
        # The first is taken from beside the log. Another one is listed by people alone: `succeed_log`.
        in_use.append(DirectoryKey("log", log.public_key, now.isoformat(), name=log.name))
    current = {(key.purpose, key.public_key, key.name) for key in in_use}
    listed = {(key.purpose, key.public_key, key.name) for key in known}
    kept = [
        # A log's key stays until people say that it ends: its files may only be out of reach from here.
        key
        if key.not_after or key.purpose == "log" or (key.purpose, key.public_key, key.name) in current
        else _ended(key, now)
        for key in known
    ]
    return (*kept, *(key for key in in_use if (key.purpose, key.public_key, key.name) not in listed))


def _ended(key: DirectoryKey, now: datetime) -> DirectoryKey:
    """Return a key that ends now; one of a second that is still to come, as a CA's change dates some, ends with it."""
    return replace(key, not_after=max(now, datetime.fromisoformat(key.not_before)).isoformat())
