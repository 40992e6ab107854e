"""Who signed an entry, and whether that key had been announced for it before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.transparency import attestation
from grace_common.transparency.attestation import Attestation
from grace_common.transparency.batch_signature import verify_batched
from grace_common.transparency.dsse import DsseEnvelope, pae
from grace_common.transparency.ed25519 import SignatureInvalid, verify_signature
from grace_common.transparency.statement import (
    KEY_DIRECTORY_PUBLISHED,
    OperationKey,
    PublishedKey,
    Statement,
    read_leaf,
)

from grace_cli.verifying.faults import Fault

KeyName = tuple[str, str]  # whose key it is (`ca`, `notary`, `attestation` or an operation's id), and its key id
AUTHORITY: Final = "ca"
ATTESTATION: Final = "attestation"
PURPOSES: Final = (AUTHORITY, "notary", ATTESTATION)
DIRECTORY: Final = "key directory"  # owner of what an entry says of a version, which is named by its number
_NOT_OPERATIONS: Final = frozenset({*PURPOSES, DIRECTORY})


@dataclass(frozen=True, slots=True)
class Announced:
    """A key that the entry at `index` announces; or, owned by `DIRECTORY`, the digest of a version of that."""

    index: int
    name: KeyName
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """An entry whose key is not announced in its own chunk: whoever knows the earlier ones must look.

    announces  the key it announces, which counts once its signature is verified
    """

    index: int
    name: KeyName
    signature: bytes
    message: bytes
    announces: Announced | None

    def verify(self, public_key: bytes) -> Fault | None:
        """Return what is wrong with the signature."""
        return _verified(self.index, self.name, public_key, self.signature, self.message)

    @property
    def unannounced(self) -> Fault:
        """The fault that nobody knows the key."""
        owner, key_id = self.name
        whose = f"a key for {owner}" if owner in PURPOSES else f"a key of operation {owner}"
        return Fault(
            self.index,
            f"entry {self.index} is signed with {key_id}, which no earlier entry announced as {whose}",
        )


@dataclass(frozen=True, slots=True)
class EntryCheck:
    """What a run of entries says of keys: those it announces, what it cannot decide, what is wrong.

    statements  what each readable entry states, by index: a statement, or an attestation
    uses        the entries that each key of the signer signed, ascending
    """

    learned: list[Announced] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    statements: dict[int, Statement | Attestation] = field(default_factory=dict)
    uses: dict[KeyName, list[int]] = field(default_factory=dict)

    @property
    def directories(self) -> dict[int, tuple[str, str | None]]:
        """The version of the key directory that each entry names which names one, and its digest, by index."""
        return {
            index: (said.subject, said.digest)
            for index, said in self.statements.items()
            if isinstance(said, Statement) and said.type == KEY_DIRECTORY_PUBLISHED
        }


def check_entries(entries: Sequence[tuple[int, bytes]], known: Mapping[KeyName, bytes]) -> EntryCheck:
    """Verify each entry's signature with the key that must have made it.

    entries  index and leaf, ascending
    known    keys announced before the first of them, the CA's included; those of operations need not be among them
    """
    keys, check = dict(known), EntryCheck()
    for index, leaf in entries:
        try:
            envelope, said = _read(leaf)
        except Refused as error:
            check.faults.append(Fault(index, f"entry {index} is no signed statement: {error}"))
            continue
        check.statements[index] = said
        announces = _announced(index, said)
        [signature] = envelope.signatures
        name = (_signer(said), signature.key_id)
        if name[0] in PURPOSES:
            check.uses.setdefault(name, []).append(index)
        message = pae(envelope.payload_type, envelope.payload)
        if (public_key := keys.get(name)) is None:
            check.pending.append(Pending(index, name, signature.signature, message, announces))
        elif fault := _verified(index, name, public_key, signature.signature, message):
            check.faults.append(fault)
        elif announces is not None:
            keys[announces.name] = announces.public_key
            check.learned.append(announces)
    return check


def _read(leaf: bytes) -> tuple[DsseEnvelope, Statement | Attestation]:
    envelope, statement = read_leaf(leaf)
    if len(envelope.signatures) != 1:
        raise Refused(f"it has {len(envelope.signatures)} signatures; expected one")
    if statement is not None:
        if statement.operation_id in _NOT_OPERATIONS:  # its key would pass for the signer's own
            raise Refused(f"its operation is called {statement.operation_id!r}, which is no operation's name")
        return envelope, statement
    if envelope.payload_type != attestation.PAYLOAD_TYPE:
        raise Refused(f"its type is {envelope.payload_type}")
    return envelope, Attestation.parse(envelope.payload)


def _signer(said: Statement | Attestation) -> str:
    if isinstance(said, Attestation):
        return ATTESTATION
    match said.announced:
        case PublishedKey():
            return AUTHORITY
        case OperationKey():
            return "notary"
    return said.operation_id


def _announced(index: int, said: Statement | Attestation) -> Announced | None:
    match said:
        case Statement(announced=PublishedKey() as key):
            return Announced(index, (key.purpose, key.key_id), key.public_key)
        case Statement(announced=OperationKey() as key):
            return Announced(index, (key.operation_id, key.key_id), key.public_key)
        case Statement(type=type_, digest=str(digest)) if type_ == KEY_DIRECTORY_PUBLISHED:
            return Announced(index, (DIRECTORY, said.subject), bytes.fromhex(digest))
    return None


def _verified(index: int, name: KeyName, public_key: bytes, signature: bytes, message: bytes) -> Fault | None:
    owner, key_id = name
    verify = verify_signature if owner == ATTESTATION else verify_batched
    try:
        verify(public_key, signature, message, f"entry {index}")
    except SignatureInvalid:
        return Fault(index, f"entry {index}: its signature is not by the key {key_id} that it names")
    return None
