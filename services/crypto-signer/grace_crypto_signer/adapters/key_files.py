"""The signer's long-lived keys as sealed files: KEK by passphrase (scrypt) and to the root (HPKE), every other key by
the KEK (AES-256-GCM).

Each seal has the key's purpose, id and version as associated data, so a file renamed, or put in place of another, does
not open. Nothing but the passphrase and what is public lies in the clear; all files have mode 0600.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from grace_common.contract.errors import Refused
from grace_common.runtime.clock import Clock
from grace_common.runtime.identity import ENDED_FILE, Authorities

from grace_crypto_signer.adapters import root_files
from grace_crypto_signer.adapters.identity_files import write_authorities
from grace_crypto_signer.adapters.root_files import PublicRoot
from grace_crypto_signer.adapters.sealing import (
    KeyEncryptionKey,
    octets,
    open_by_passphrase,
    parse_sealed,
    pretty,
    read_file,
    read_if_there,
    seal_by_passphrase,
    text,
    write_private,
)
from grace_crypto_signer.domain.certificate import Authority
from grace_crypto_signer.domain.keyring import SigningKey
from grace_crypto_signer.domain.notary import OwnKeys
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.ports import Kek

VERSION: Final = 1
PURPOSES: Final = ("ca", "notary", "attestation", "witness")
_SCRYPT: Final = {"n": 1 << 15, "r": 8, "p": 1}  # 32 MiB; a made passphrase has 256 bits, a chosen one should be long
_PASSPHRASE_BYTES: Final = 32


@dataclass(frozen=True)
class Vault:
    """Everything that the state folder holds, opened; `root` is None once it exists as shares alone.

    authority    the CA that certifies now; `authorities` are all there ever were
    """

    kek: Kek
    authority: Authority
    authorities: Authorities
    own: OwnKeys
    witness: SigningKey
    root: Root | None


def create(folder: Path, passphrase_file: Path, trust_domain: str, clock: Clock) -> bool:
    """Make what is missing of the passphrase, the KEK, the root, the CA and the other keys.

    returns  whether anything was made
    raises   Refused when a key is missing that something present depends on
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = _files(folder)
    if passphrase_file.exists() and not missing(folder) and _is_sealed_to_root(folder):
        return False
    kek_file = files["kek"]
    if not passphrase_file.exists():
        if kek_file.exists():
            raise Refused(f"{passphrase_file} is missing, without which {kek_file} cannot be opened: restore it")
        passphrase_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(passphrase_file, secrets.token_urlsafe(_PASSPHRASE_BYTES).encode())
    if not kek_file.exists():
        sealed = [str(file) for name, file in files.items() if name not in ("kek", "ca.pem") and file.exists()]
        if sealed:
            raise Refused(f"{kek_file} is missing, without which {', '.join(sealed)} cannot be opened: restore it")
        made = KeyEncryptionKey.generate(clock.now().replace(microsecond=0))
        write_kek(folder, made, read_passphrase(passphrase_file))
    kek = open_kek(folder, passphrase_file)
    complete(folder, kek, trust_domain, clock, read_passphrase(passphrase_file))
    return True


def missing(folder: Path) -> list[str]:
    """Return the names of the files that are not there yet: a newer version of Grace may want more keys."""
    files = [*_files(folder).values(), root_files.public_file(folder)]
    return [file.name for file in files if not file.exists()]


def complete(folder: Path, kek: KeyEncryptionKey, trust_domain: str, clock: Clock, passphrase: bytes | None) -> None:
    """Make what is missing below the key-encryption key.

    passphrase  the key-encryption key's; only where there is no root yet, to which it is sealed then as well
    raises      Refused when a key is missing that something present depends on
    """
    files, ca_file = _files(folder), _files(folder)["ca"]
    now = clock.now().replace(microsecond=0)
    if not _is_sealed_to_root(folder):
        if passphrase is None:
            raise Refused(
                f"{folder} has no root yet, and the passphrase of the key-encryption key is needed to make one"
            )
        if not root_files.public_file(folder).exists():
            root_files.make(folder, kek, now)
        write_kek(folder, kek, passphrase)  # now to the root as well
    if not ca_file.exists():
        if files["ca.pem"].exists():
            raise Refused(f"{ca_file} is missing, to which {files['ca.pem']} belongs: restore it")
        make_key(folder, kek, "ca", now)
    if not files["ca.pem"].exists():
        key, since = _open_key(kek, "ca", ca_file)
        made = Authority.create(key, trust_domain, serial=clock.new_id().int, now=since)
        write_private(files["ca.pem"], made.certificate.public_bytes(Encoding.PEM))
    for purpose in ("notary", "attestation", "witness"):
        if not files[purpose].exists():
            make_key(folder, kek, purpose, now)


def load(folder: Path, passphrase_file: Path, trust_domain: str) -> Vault:
    """Open every key with the passphrase in a file; Refused says which file is missing or does not open."""
    return open_vault(folder, open_kek(folder, passphrase_file), trust_domain)


def open_vault(folder: Path, kek: Kek, trust_domain: str) -> Vault:
    """Open every key; Refused says which file is missing or does not open."""
    files = _files(folder)
    ca_key, _ = _open_key(kek, "ca", files["ca"])
    notary, since = _open_key(kek, "notary", files["notary"])
    attestation, later = _open_key(kek, "attestation", files["attestation"])
    witness, _ = _open_key(kek, "witness", files["witness"])
    known = authorities(folder)
    certificate = next((one for one in known.held if one.public_key() == ca_key.public_key()), None)
    if certificate is None:
        raise Refused(f"{files['ca.pem']} is not the certificate of the key in {files['ca']}")
    own = OwnKeys(
        authority=SigningKey.of(ca_key),
        notary=SigningKey.of(notary),
        attestation=SigningKey.of(attestation),
        since=max(since, later),
    )
    authority = Authority(ca_key, certificate, trust_domain)
    return Vault(kek, authority, known, own, SigningKey.of(witness), root_files.load(folder, kek))


def authorities(folder: Path) -> Authorities:
    """Return all CAs, for which no key needs to be opened; raises Refused."""
    held, ended = _files(folder)["ca.pem"], folder / ENDED_FILE
    try:
        return Authorities.parse(read_file(held), read_if_there(ended) or b"")
    except ValueError as error:
        raise Refused(f"{held} or {ended} is damaged: restore it from a backup") from error


def next_ca_file(folder: Path) -> Path:
    """Return where the next CA's key waits, from when it is made until it certifies."""
    return folder / "ca.next.sealed.json"


def prepare_ca(folder: Path, kek: Kek, trust_domain: str, clock: Clock) -> None:
    """Make the next CA's key and add its certificate to those that count; the CA before certifies still."""
    waiting, known = next_ca_file(folder), authorities(folder)
    if not waiting.exists():
        now = clock.now().replace(microsecond=0)
        write_private(waiting, _sealed_key(kek, "ca", Ed25519PrivateKey.generate(), now))
    key, since = _open_key(kek, "ca", waiting)
    if key.public_key().public_bytes_raw() not in known.keys:
        made = Authority.create(key, trust_domain, serial=clock.new_id().int, now=since).certificate
        write_authorities(folder, replace(known, held=(made, *known.held)))


def enter_ca(folder: Path, kek: Kek, now: datetime) -> None:
    """Let the next CA certify from now on, in place of the one before, whose key is gone with that."""
    key, _ = _open_key(kek, "ca", next_ca_file(folder))
    _write_key(folder, kek, "ca", key, now)
    next_ca_file(folder).unlink()


def end_other_cas(folder: Path, kek: Kek) -> None:
    """Name every CA but the one that certifies as ended: nothing that they certified counts any more."""
    key, _ = _open_key(kek, "ca", _files(folder)["ca"])
    known = authorities(folder)
    others = tuple(one for one in known.held if one.public_key() != key.public_key())
    held = tuple(one for one in known.held if one not in others)
    write_authorities(folder, Authorities(held, (*others, *(one for one in known.ended if one not in others))))


def ca_id(folder: Path, *, waiting: bool = False) -> str:
    """Return the id of the key of the CA that certifies, or of the one that waits to; raises Refused.

    No key is opened for that.
    """
    file = next_ca_file(folder) if waiting else _files(folder)["ca"]
    return str(parse_sealed(read_file(file), str(file), VERSION).get("id"))


def made_at(folder: Path, purpose: str) -> datetime:
    """Return when a key was made; raises Refused."""
    return described(folder, purpose)[1]


def described(folder: Path, purpose: str) -> tuple[str, datetime]:
    """Return the id of a key, `kek` included, and when it was made; no key is opened for that.

    raises  Refused when its file does not say so
    """
    file = _files(folder)[purpose]
    stored = parse_sealed(read_file(file), str(file), VERSION)
    if purpose == "kek" and "made_at" not in stored:
        made = root_files.read_public(folder).made_at  # of a file that is older than the member: both were made then
    else:
        made = _time_of(stored, str(file))
    if "id" not in stored:
        raise Refused(f"{file} does not say which key it holds")
    return str(stored["id"]), made


def kek_is_changing(folder: Path) -> bool:
    """Tell whether the key-encryption key was replaced, and what the one before sealed is not all sealed anew."""
    old = read_if_there(_old_file(folder))
    if old is None:
        return False
    newer = parse_sealed(old, str(_old_file(folder)), VERSION).get("kek")
    return bool(newer == described(folder, "kek")[0])


def next_passphrase_file(passphrase_file: Path) -> Path:
    """Return where the next passphrase waits until the key-encryption key is sealed under it."""
    return passphrase_file.with_name(f"{passphrase_file.name}.next")


def kek_by_next(folder: Path, passphrase_file: Path) -> KeyEncryptionKey | None:
    """Return the key-encryption key where the next passphrase opens it: the change to that one was cut short."""
    waiting = next_passphrase_file(passphrase_file)
    try:
        return kek_by_passphrase(folder, read_passphrase(waiting)) if waiting.exists() else None
    except Refused:  # it was cut short before the key was sealed under it
        return None


def open_kek(folder: Path, passphrase_file: Path) -> KeyEncryptionKey:
    """Return the key-encryption key; Refused when file or passphrase are missing or do not fit."""
    if (found := kek_by_next(folder, passphrase_file)) is not None:
        return found
    return kek_by_passphrase(folder, read_passphrase(passphrase_file), f"the passphrase in {passphrase_file}")


def kek_by_passphrase(folder: Path, passphrase: bytes, called: str = "the passphrase") -> KeyEncryptionKey:
    """Return the key-encryption key; Refused when the passphrase, which errors call `called`, does not open it."""
    file = _files(folder)["kek"]
    stored = parse_sealed(read_file(file), str(file), VERSION)
    try:
        key = open_by_passphrase(stored, passphrase, _kek_name(str(stored["id"])).encode())
    except (KeyError, Refused) as error:
        raise Refused(f"{file} is no sealed key-encryption key: {type(error).__name__}: {error}") from error
    if key is None:
        raise Refused(f"{called} does not open {file}")
    return _with_older(folder, KeyEncryptionKey(stored["id"], key, made_at=_kek_made_at(stored, str(file))))


def kek_by_root(folder: Path, root: Root) -> KeyEncryptionKey:
    """Return the key-encryption key that was sealed to the root; raises Refused."""
    file, public = _files(folder)["kek"], root_files.read_public(folder)
    stored = parse_sealed(read_file(file), str(file), VERSION)
    try:
        id_, sealed = stored["id"], octets(stored["sealed_to_root"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file} holds no key-encryption key that is sealed to a root: {error}") from error
    made_at = _kek_made_at(stored, str(file))
    return _with_older(folder, KeyEncryptionKey(id_, public.open(root, sealed, _kek_name(id_)), made_at=made_at))


def write_kek(folder: Path, kek: KeyEncryptionKey, passphrase: bytes) -> None:
    """Write the key-encryption key under a passphrase and, where there is a root, sealed to it: one file, at once."""
    name = _kek_name(kek.id)
    stored: dict[str, Any] = {"version": VERSION, "id": kek.id}
    stored |= {"made_at": kek.made_at.isoformat()} if kek.made_at is not None else {}
    stored |= seal_by_passphrase(kek.exported(), passphrase, name.encode(), _SCRYPT)
    if root_files.public_file(folder).exists():
        public: PublicRoot = root_files.read_public(folder)
        stored |= {"root": public.id, "sealed_to_root": text(public.seal(kek.exported(), name))}
    write_private(_files(folder)["kek"], pretty(stored))


def seal_kek_to(folder: Path, kek: KeyEncryptionKey, public: PublicRoot) -> None:
    """Seal the key-encryption key to another root; what its passphrase opens stays as it is."""
    file = _files(folder)["kek"]
    stored = parse_sealed(read_file(file), str(file), VERSION)
    sealed = public.seal(kek.exported(), _kek_name(kek.id))
    write_private(file, pretty({**stored, "root": public.id, "sealed_to_root": text(sealed)}))


def begin_kek(folder: Path, kek: KeyEncryptionKey, passphrase: bytes, now: datetime) -> KeyEncryptionKey:
    """Make the next key-encryption key; return it with the one before among its `older`, which it seals till the end.

    From here on new seals are the new key's and old ones open still, whatever happens before `finish_kek`.
    """
    if kek.older:
        raise Refused("the change of the key-encryption key before was not finished: finish it first")
    new = KeyEncryptionKey.generate(now)
    nonce, sealed = new.seal(kek.exported(), _old_name(kek.id))
    stored = {"version": VERSION, "id": kek.id, "kek": new.id, "nonce": text(nonce), "sealed": text(sealed)}
    write_private(_old_file(folder), pretty(stored))
    write_kek(folder, new, passphrase)
    return replace(new, older=(kek,))


def finish_kek(folder: Path, kek: KeyEncryptionKey) -> KeyEncryptionKey:
    """Seal every file anew under the newest key-encryption key and forget the older; the epochs come before."""
    for purpose in PURPOSES:
        key, since = _open_key(kek, purpose, _files(folder)[purpose])
        _write_key(folder, kek, purpose, key, since)
    root = root_files.load(folder, kek)
    if root is not None:
        root_files.keep(folder, kek, root)
    _old_file(folder).unlink(missing_ok=True)
    return replace(kek, older=())


def make_key(folder: Path, kek: Kek, purpose: str, now: datetime) -> SigningKey:
    """Make a key for a purpose, in place of the one there is."""
    key = Ed25519PrivateKey.generate()
    _write_key(folder, kek, purpose, key, now)
    return SigningKey.of(key)


def read_passphrase(file: Path) -> bytes:
    """Return the passphrase in a file that only its owner can read; raises Refused."""
    passphrase = read_file(file).strip()
    if file.stat().st_mode & 0o077:
        raise Refused(f"{file} can be read by others; run `chmod 600 {file}`, and change it if somebody did")
    if not passphrase:
        raise Refused(f"{file} is empty")
    return passphrase


def sealed_files(folder: Path) -> dict[str, Path]:
    """Return the files that a backup must have besides those of the root, by name."""
    files = [*_files(folder).values(), folder / ENDED_FILE, _old_file(folder)]
    return {file.name: file for file in files if file.exists()}


def _with_older(folder: Path, kek: KeyEncryptionKey) -> KeyEncryptionKey:
    file = _old_file(folder)
    data = read_if_there(file)
    if data is None:
        return kek
    stored = parse_sealed(data, str(file), VERSION)
    if stored.get("kek") != kek.id:
        return kek  # of a change that came no further than this file
    old = kek.open(octets(stored["nonce"]), octets(stored["sealed"]), _old_name(stored["id"]))
    return replace(kek, older=(KeyEncryptionKey(stored["id"], old),))


def _kek_made_at(stored: dict[str, Any], name: str) -> datetime | None:
    return _time_of(stored, name) if "made_at" in stored else None


def _time_of(stored: dict[str, Any], name: str) -> datetime:
    try:
        return datetime.fromisoformat(stored["made_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{name} does not say when its key was made") from error


def _is_sealed_to_root(folder: Path) -> bool:
    file = _files(folder)["kek"]
    return "sealed_to_root" in parse_sealed(read_file(file), str(file), VERSION)


def _files(folder: Path) -> dict[str, Path]:
    sealed = {name: folder / f"{name}.sealed.json" for name in ("kek", *PURPOSES)}
    return sealed | {"ca.pem": folder / "ca.pem"}


def _old_file(folder: Path) -> Path:
    return folder / "kek.old.sealed.json"


def _write_key(folder: Path, kek: Kek, purpose: str, key: Ed25519PrivateKey, since: datetime) -> None:
    write_private(_files(folder)[purpose], _sealed_key(kek, purpose, key, since))


def _sealed_key(kek: Kek, purpose: str, key: Ed25519PrivateKey, since: datetime) -> bytes:
    id_ = SigningKey.of(key).key_id
    nonce, sealed = kek.seal(key.private_bytes_raw(), _key_name(purpose, id_))
    stored = {
        "version": VERSION,
        "purpose": purpose,
        "id": id_,
        "kek": kek.id,
        "made_at": since.isoformat(),
        "nonce": text(nonce),
        "sealed": text(sealed),
    }
    return pretty(stored)


def _open_key(kek: Kek, purpose: str, file: Path) -> tuple[Ed25519PrivateKey, datetime]:
    stored = parse_sealed(read_file(file), str(file), VERSION)
    try:
        # A file without the member is damaged, and the newest key says so.
        sealing = kek.under(stored.get("kek", kek.id))
        if sealing is None:
            raise Refused(f"{file} is sealed under the key-encryption key {stored['kek']}, this one is {kek.id}")
        raw = sealing.open(octets(stored["nonce"]), octets(stored["sealed"]), _key_name(purpose, stored["id"]))
        since = datetime.fromisoformat(stored["made_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file} is no sealed key: {type(error).__name__}: {error}") from error
    return Ed25519PrivateKey.from_private_bytes(raw), since


def _kek_name(id_: str) -> str:
    return f"grace/kek/v{VERSION}|{id_}"


def _old_name(id_: str) -> str:
    return f"grace/old-kek/v{VERSION}|{id_}"


def _key_name(purpose: str, id_: str) -> str:
    return f"grace/{purpose}-key/v{VERSION}|{id_}"
