"""A small ledger in memory, with keys made from fixed seeds: for tests of whatever reads logs, proofs and receipts."""

from dataclasses import dataclass, replace
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from grace_common.contract.errors import Unready
from grace_common.transparency import merkle, tile
from grace_common.transparency.attestation import (
    Attestation,
    Authorship,
    Prompt,
    Provenance,
    Review,
    Subject,
    TestResult,
    sign_attestation,
)
from grace_common.transparency.checkpoint import Checkpoint, ca_extension, previous_extension, sign_checkpoint
from grace_common.transparency.directory import DirectoryKey, KeyDirectory, digest_of, sign_directory
from grace_common.transparency.ed25519 import Sign
from grace_common.transparency.note import SignatureType, VerifierKey
from grace_common.transparency.receipt import Receipt, make_receipt
from grace_common.transparency.statement import (
    KEY_DIRECTORY_PUBLISHED,
    NOTARY_KEY_PUBLISHED,
    OPERATION_KEY_GENERATED,
    OperationKey,
    PublishedKey,
    Purpose,
    Statement,
    key_id,
    sign_statements,
)
from grace_common.transparency.strict import compact_json, encode_base64
from grace_common.transparency.tile import TileEdge, TreeReader

TIME = "2026-11-22T00:00:00Z"
EXPIRY = "2027-11-22T00:00:00Z"


class SeededKey:
    """An Ed25519 key pair whose seed is the digest of a word."""

    def __init__(self, word: str) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(sha256(word.encode()).digest())
        self.public_key = self._private.public_key().public_bytes_raw()
        self.key_id = key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature over a message."""
        return self._private.sign(message)

    def named(self, name: str, type: SignatureType = SignatureType.ED25519) -> VerifierKey:
        """Return the public key under the name it signs notes with."""
        return VerifierKey(name, self.public_key, type)


class MemoryLog:
    """A log whose static files lie in a dictionary; a `TileReader`."""

    def __init__(self, origin: str = "log.example/grace", extensions: tuple[str, ...] = ()) -> None:
        self.extensions = extensions
        self._signer = SeededKey(origin)
        self._edge = TileEdge()
        self._published: Checkpoint | None = None
        self._before: tuple[SeededKey, ...] = ()
        self.key = self._signer.named(origin)
        self.entries: list[bytes] = []
        self.files: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        """Return a file; raises Unready when it is absent."""
        if path not in self.files:
            raise Unready(f"{path} is absent")
        return self.files[path]

    def append(self, *entries: bytes) -> int:
        """Add entries, not yet published, and return the index of the first."""
        self.entries += entries
        return len(self.entries) - len(entries)

    def publish(self) -> bytes:
        """Write the tiles, bundles and checkpoint of all entries so far, and return the signed checkpoint."""
        old = self._edge.size
        growth = self._edge.append(merkle.leaf_hashes(self.entries[old:]))
        self._edge = growth.edge
        self.files |= {place.path: data for place, data in growth.tiles}
        for bundle in tile.new_bundles(old, self._edge.size):
            first = bundle.index * tile.WIDTH
            self.files[bundle.path] = tile.encode_bundle(self.entries[first : first + bundle.width])
        previous = (previous_extension(self._published),) if self._published else ()
        extensions = (*self.extensions, *previous)
        self._published = Checkpoint(self.key.name, self._edge.size, self._edge.root, extensions)
        before = [(key.named(self.key.name), key.sign) for key in self._before]
        self.files["checkpoint"] = sign_checkpoint(self._published, self.key, self._signer.sign, *before)
        self.files["vkey"] = f"{self.key}\n".encode()
        return self.files["checkpoint"]

    def succeed(self, successor: SeededKey) -> None:
        """Let another key lead; checkpoints carry the lines of both until `retire`."""
        self._before, self._signer = (self._signer,), successor
        self.key = successor.named(self.key.name)

    def retire(self) -> None:
        """Let the leading key alone sign."""
        self._before = ()

    @property
    def keys(self) -> list[VerifierKey]:
        """The keys that sign, the oldest first."""
        return [*(key.named(self.key.name) for key in self._before), self.key]

    def tree(self) -> TreeReader:
        """Return the published tree, read from its own files."""
        return TreeReader(self, self._edge.size, self._edge.root)


@dataclass(frozen=True)
class Delivery:
    """An artifact with its receipt, and the vkey that the verifier is given."""

    artifact: bytes
    receipt: Receipt
    log_vkey: str


class MemoryLedger:
    """A log of Grace's statements, signed as the crypto-signer signs them.

    batched  whether each statement is signed together with two others of its signer, which are not in the log
    """

    def __init__(self, *, batched: bool = False) -> None:
        self._batched = batched
        self.ca, self.notary, self.attester = SeededKey("ca"), SeededKey("notary"), SeededKey("attestation")
        self.log = MemoryLog(extensions=(ca_extension(self.ca.public_key),))
        self.log.files["ca"] = f"{encode_base64(self.ca.public_key)}\n".encode()
        self.root = SeededKey("root")

    def replace_ca(self, word: str) -> None:
        """Let another CA publish another notary's and attestation key; the checkpoints name both CAs from now on."""
        self.ca = SeededKey(f"{word} ca")
        self.log.extensions = (ca_extension(self.ca.public_key), *self.log.extensions)
        self.log.files["ca"] = f"{encode_base64(self.ca.public_key)}\n".encode() + self.log.files["ca"]
        self.notary, self.attester = SeededKey(f"{word} notary"), SeededKey(f"{word} attestation")
        self.publish_key(self.notary, "notary")
        self.publish_key(self.attester, "attestation")

    def publish_key(self, key: SeededKey, purpose: Purpose) -> int:
        """Add the CA's statement of a key of the signer; return its index."""
        announced = PublishedKey(key.public_key, purpose)
        fact = statement(f"{purpose}-key", NOTARY_KEY_PUBLISHED, "crypto-signer", "keys", announced=announced)
        return self.log.append(self._leaf(fact, self.ca))

    def announce(self, operation: str) -> int:
        """Add the notary's statement of an operation's key; return its index."""
        announced = OperationKey(SeededKey(operation).public_key, operation, epoch=1)
        fact = statement(f"{operation}-key", OPERATION_KEY_GENERATED, "crypto-signer", operation, announced=announced)
        return self.log.append(self._leaf(fact, self.notary))

    def state(self, id: str, type: str, actor: str, operation: str, payload: bytes) -> int:
        """Add a statement signed with its operation's key; return its index."""
        fact = statement(id, type, actor, operation, digest=sha256(payload).hexdigest())
        return self.log.append(self._leaf(fact, SeededKey(operation)))

    def directory(self, version: int = 1, previous: bytes | None = None) -> KeyDirectory:
        """Return a version of the key directory that lists the keys of this ledger, from `TIME` on."""
        listed = [DirectoryKey("ca", self.ca.public_key, TIME), DirectoryKey("notary", self.notary.public_key, TIME)]
        listed.append(DirectoryKey("attestation", self.attester.public_key, TIME))
        listed += [DirectoryKey("log", key.public_key, TIME, name=key.name) for key in self.log.keys]
        before = None if previous is None else digest_of(previous)
        return KeyDirectory(version, "example", TIME, EXPIRY, self.root.public_key, before, tuple(listed))

    @staticmethod
    def sign_directory(directory: KeyDirectory, *roots: SeededKey) -> bytes:
        """Return a version of the key directory, signed with these keys."""
        return sign_directory(directory, [(key.key_id, key.sign) for key in roots])

    def state_directory(self, signed: bytes, version: str) -> tuple[int, int]:
        """Add the statement of a signed version of the key directory, whatever it holds.

        returns  indices of its operation's key and of the statement
        """
        operation = f"directory-{version}-{len(self.log.entries)}"
        fact = statement(
            operation,
            KEY_DIRECTORY_PUBLISHED,
            "crypto-signer",
            operation,
            digest=digest_of(signed),
            about=("key-directory", version),
        )
        announced = self.announce(operation)
        self.log.files[f"keys/{int(version):04}.json"] = signed
        return announced, self.log.append(self._leaf(fact, SeededKey(operation)))

    def publish_directory(self, directory: KeyDirectory, *more: SeededKey) -> tuple[tuple[int, int], bytes]:
        """Add a version of the key directory, signed with the root and `more`: its indices and the signed bytes."""
        signed = self.sign_directory(directory, *more, self.root)
        return self.state_directory(signed, str(directory.version)), signed

    def _leaf(self, fact: Statement, key: SeededKey) -> bytes:
        others = [replace(fact, id=f"{fact.id}-{number}") for number in (1, 2) if self._batched]
        return sign_statements([*others, fact], key.key_id, key.sign)[-1]

    def attest(self, attested: Attestation) -> int:
        """Add an attestation; return its index."""
        return self.log.append(sign_attestation(attested, self.attester.key_id, self.attester.sign).encode())

    def deliver(self, artifact: bytes = b"def double(n):\n    return 2 * n\n", *, listed: bool = False) -> Delivery:
        """Take an artifact through submission, approval and attestation, and return it with its receipt.

        listed  whether a key directory stands behind the keys, so that the receipt is of the second format
        """
        subject = Subject("double.py", sha256(artifact).hexdigest())
        review = Review(
            reviewer="grace",
            role="reviewer",
            policy="four-eyes@1",
            artifact=subject.sha256,
            report=sha256(b"report").hexdigest(),
            decision=sha256(b"decision").hexdigest(),
            event_id="approval-1",
            time=TIME,
        )
        approval = compact_json({"id": "approval-1", "data": {"by": "grace", "digest": review.approval_digest}})
        provenance = Provenance(
            build_type="https://grace.example/build/v1",
            builder_id="https://grace.example/builder",
            invocation_id="task-1",
            started=TIME,
            finished=TIME,
            external_parameters={"prompt_sha256": sha256(b"prompt").hexdigest()},
            internal_parameters={"generator": "synthesis"},
            dependencies=(Subject("prompt", sha256(b"prompt").hexdigest()),),
        )
        indices = [
            self.publish_key(self.notary, "notary"),
            self.publish_key(self.attester, "attestation"),
            self.announce("submit"),
            self.state("submitted-1", "grace.task-submitted.v1", "ada", "submit", b"{}"),
        ]
        self.log.append(*[b"entry of another task %d" % number for number in range(300)])
        indices.append(self.announce("approve"))
        approved = self.state("approval-1", "grace.approval-given.v1", "grace", "approve", approval)
        tests = TestResult(
            configuration=(
                Subject("specification", sha256(b"specification").hexdigest()),
                Subject("evaluation-report", review.report),
            ),
            passed=("e0: double(1) == 2", "e1: double(2) == 4"),
            warned=("a0: double(-1) == -3",),
        )
        authorship = Authorship(
            generator="openai:small",
            model="small",
            strategy="side-by-side@1",
            prompts=(
                Prompt("system", sha256(b"system").hexdigest()),
                Prompt("user", sha256(b"prompt").hexdigest()),
            ),
            invocation_id="task-1",
            candidate="candidate-1",
        )
        for predicate in (provenance, review, tests, authorship):
            indices.append(self.attest(predicate.of(subject)))
        payloads = {approved: approval}
        if listed:
            places, signed = self.publish_directory(self.directory())
            indices.append(places[0])
            payloads[places[1]] = signed
        checkpoint = self.log.publish()
        receipt = make_receipt(
            subject.name,
            artifact,
            indices,
            self.log.tree(),
            checkpoint,
            [self.ca.public_key],
            payloads,
            1 if listed else None,
        )
        return Delivery(artifact, receipt, str(self.log.key))


def statement(
    id: str,
    type: str,
    actor: str,
    operation: str,
    *,
    digest: str | None = None,
    announced: OperationKey | PublishedKey | None = None,
    about: tuple[str, str] = ("task", "task-1"),
) -> Statement:
    """Return a statement, by default about task-1, stated by the gateway at `TIME`."""
    return Statement(
        id=id,
        type=type,
        service="gateway",
        actor=actor,
        subject_type=about[0],
        subject=about[1],
        topic="grace.task.v1",
        key="task-1",
        time=TIME,
        correlation_id="task-1",
        causation_id=None,
        operation_id=operation,
        digest=digest,
        announced=announced,
    )


def sign_statement(fact: Statement, signer_key_id: str, sign: Sign) -> bytes:
    """Return the leaf of one statement that its key signs alone."""
    [leaf] = sign_statements([fact], signer_key_id, sign)
    return leaf
