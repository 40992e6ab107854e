"""Sealing what leaves and checking what arrives: Ed25519 over exact bytes, topic and key included.

A single record carries `grace-seal`, an Ed25519 signature over the DSSE pre-authentication encoding
`PAE("application/cloudevents+json;topic=<topic>;key=<key in hex>", value)`.
Records sent together share one signature: it covers the RFC 6962 root over their encodings, and each record carries
its inclusion path in `grace-seal-path` (u32 index, u32 size, then the hashes); who checked a root once only hashes.
Index and size are not signed themselves: they say how to climb, and whatever climbs to the signed root is in the batch.

Sources: DSSE protocol 1.0 (PAE), RFC 8032 (Ed25519), RFC 9162 section 2.1 (tree and path).
"""

import struct
from collections import OrderedDict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from grace_common.contract.envelope import CONTENT_TYPE
from grace_common.contract.errors import Refused
from grace_common.transparency import merkle

KEY_ID_HEADER: Final = "grace-key-id"
SEAL_HEADER: Final = "grace-seal"
PATH_HEADER: Final = "grace-seal-path"
BATCH_TYPE: Final = b"application/vnd.grace.seal-batch"

Headers = Sequence[tuple[str, bytes]]


class Unsealed(Refused):
    """The record carries no seal."""


class BadSeal(Refused):
    """The seal does not cover this record, or nobody known made it."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to be sealed and produced."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Signer:
    """Who sealed a record: `service/consensus` or `producer/build-farm`."""

    subject: str
    key_id: str
    roles: tuple[str, ...] = ()

    @property
    def principal(self) -> str:
        """The name as the topics table has it: the service, or `producer` for every outside producer."""
        kind, _, name = self.subject.partition("/")
        return name if kind == "service" else kind


class SealedRecord(NamedTuple):  # made for every record that anybody reads
    """One record read from Kafka whose seal holds. `timestamp` is the broker's (log append time)."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    timestamp: datetime
    signer: Signer


def encoding(topic: str, key: bytes, value: bytes) -> bytes:
    """Return the bytes that a seal covers."""
    return b"%b%d %b" % (_opening(topic, key), len(value), value)


@lru_cache(maxsize=4096)
def _opening(topic: str, key: bytes) -> bytes:
    type_ = f"{CONTENT_TYPE};topic={topic};key={key.hex()}".encode()
    return b"DSSEv1 %d %b " % (len(type_), type_)


def batch_encoding(root: bytes) -> bytes:
    """Return the bytes that a batch's signature covers."""
    return b"DSSEv1 %d %b %d %b" % (len(BATCH_TYPE), BATCH_TYPE, len(root), root)


class Sealer:
    """Seals with one workload key."""

    def __init__(self, key: Ed25519PrivateKey, key_id: str) -> None:
        self._key = key
        self.key_id = key_id

    def seal(self, record: Outgoing) -> Headers:
        """Return the headers of one record sealed alone."""
        signature = self._key.sign(encoding(record.topic, record.key, record.value))
        return [
            ("content-type", CONTENT_TYPE.encode()),
            (KEY_ID_HEADER, self.key_id.encode()),
            (SEAL_HEADER, signature),
        ]

    def seal_batch(self, records: Sequence[Outgoing]) -> list[Headers]:
        """Return the headers of each record; all share one signature."""
        if len(records) == 1:
            return [self.seal(records[0])]
        leaves = [merkle.leaf_hash(encoding(record.topic, record.key, record.value)) for record in records]
        root, paths = merkle.root_and_paths(leaves)
        signature = self._key.sign(batch_encoding(root))
        size = len(leaves)
        content_type, key_id = CONTENT_TYPE.encode(), self.key_id.encode()
        return [
            [
                ("content-type", content_type),
                (KEY_ID_HEADER, key_id),
                (SEAL_HEADER, signature),
                (PATH_HEADER, struct.pack(">II", index, size) + path),
            ]
            for index, path in enumerate(paths)
        ]


_Step = tuple[bytes, int, int, bytes]  # a node on the way up, its index, that of the last node of its level, the rest


class SealCheck:
    """Checks seals against a public key, and does not climb twice from one node of a batch.

    remembered  how many batches are known at a time: from which steps of a climb the signed root was reached
    """

    def __init__(self, remembered: int = 64) -> None:
        self._remembered = remembered
        self._batches: OrderedDict[tuple[str, bytes], set[_Step]] = OrderedDict()

    def check(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Mapping[str, bytes],
        public_key: Ed25519PublicKey,
        key_id: str,
    ) -> None:
        """Return when the seal covers exactly this record; raise BadSeal otherwise."""
        signature = headers[SEAL_HEADER]
        path = headers.get(PATH_HEADER)
        if path is None:
            self._verify(public_key, signature, encoding(topic, key, value))
            return
        batch = (key_id, signature)
        known = self._batches.get(batch)
        climbed, root = _climb(merkle.leaf_hash(encoding(topic, key, value)), path, known or ())
        if root is not None:
            self._verify(public_key, signature, batch_encoding(root))
        if known is not None:
            known.update(climbed)
            return
        self._batches[batch] = set(climbed)
        if len(self._batches) > self._remembered:
            self._batches.popitem(last=False)

    @staticmethod
    def _verify(public_key: Ed25519PublicKey, signature: bytes, message: bytes) -> None:
        try:
            public_key.verify(signature, message)
        except InvalidSignature as error:
            raise BadSeal("the seal does not cover this value, key and topic") from error


def _climb(leaf: bytes, path: bytes, known: Container[_Step]) -> tuple[list[_Step], bytes | None]:
    """Return the steps from a leaf along its path, and the root; None for the root once a step is known to lead there.

    What comes of a step depends on nothing but the step, so a known one needs no second look (RFC 9162, 2.1.3.2).
    """
    if len(path) < 8 or (len(path) - 8) % merkle.HASH_BYTES or len(path) > 8 + 32 * merkle.HASH_BYTES:
        raise BadSeal(f"the seal's path has {len(path)} bytes, expected 8 and a multiple of 32")
    index, size = struct.unpack_from(">II", path)
    if index >= size:
        raise BadSeal(f"the seal's path names leaf {index} of {size}")
    node, last = leaf, size - 1
    climbed: list[_Step] = []
    for start in range(8, len(path), merkle.HASH_BYTES):
        sibling = path[start : start + merkle.HASH_BYTES]
        if last == 0:
            raise BadSeal("the seal's path is too long")
        if index & 1 or index == last:
            node = merkle.node_hash(sibling, node)
            while index and not index & 1:
                index >>= 1
                last >>= 1
        else:
            node = merkle.node_hash(node, sibling)
        index >>= 1
        last >>= 1
        step = (node, index, last, path[start + merkle.HASH_BYTES :])
        if step in known:
            return climbed, None
        climbed.append(step)
    if last != 0:
        raise BadSeal("the seal's path is too short")
    return climbed, node
