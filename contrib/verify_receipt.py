"""Verify a Grace receipt: one file, Python's standard library and `cryptography`, no network, nothing of Grace.

    python verify_receipt.py receipt.json FILE --log-key VKEY [--witness-key VKEY … --quorum N] [--witness-policy FILE]
        [--root-key KEY]

Written from docs/receipt-format.md (whose steps are the numbers in the comments), docs/ledger-format.md and, for the
witness policy, c2sp.org/tlog-policy.
Exit code 0: what is printed is proven. 1: nothing is, and standard error says why. 2: it was called wrongly.
"""

import argparse
import base64
import binascii
import json
import re
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

STATEMENT = "application/vnd.grace.statement.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
NOTARY_KEY = "grace.notary-key-published.v1"
OPERATION_KEY = "grace.operation-key-generated.v1"
DIRECTORY_STATED = "grace.key-directory-published.v1"
DIRECTORY = "application/vnd.grace.key-directory.v1+json"
NO_DIRECTORY = "No version of the key directory stands behind these keys: the log alone vouches for them."
FORMATS = ("grace-receipt/v1", "grace-receipt/v2")
LATEST = 253_402_300_799  # the last second of the year 9999
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
AUTHORSHIP = "https://grace.example/attestation/ai-authorship/v1"
REVIEWS = ("https://grace.example/attestation/review/v1", "https://grace.example/attestation/review/v2")
KEY_ID = re.compile("[0-9a-f]{32}", re.ASCII)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Rejected(Exception):
    """The receipt proves nothing; the message is the first reason found."""


# JSON, base64, digests: one spelling each


def parse(data: bytes, what: str) -> Any:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Rejected(f"{what} repeats a member")
        return found

    def constant(name: str) -> NoReturn:
        raise Rejected(f"{what} contains {name}")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=members, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"{what} is not JSON: {error}") from error


def members_of(value: Any, what: str, required: str, optional: str = "", others: bool = False) -> dict[str, Any]:
    """Return an object that has the required members and, unless `others` may be there, none but the optional ones."""
    if not isinstance(value, dict):
        raise Rejected(f"{what} is no JSON object")
    missing = set(required.split()) - value.keys()
    unknown = set() if others else value.keys() - {*required.split(), *optional.split()}
    if missing or unknown:
        raise Rejected(f"{what} lacks {sorted(missing)} and has the unknown {sorted(unknown)}")
    return value


def text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise Rejected(f"{what} is {value!r}; expected a text")
    return value


def number(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise Rejected(f"{what} is {value!r}; expected an integer from 0 to 2^63 - 1")
    return value


def items(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise Rejected(f"{what} is no JSON array")
    return value


def digest(value: Any, what: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value, re.ASCII):
        raise Rejected(f"{what} is {value!r}; expected 64 lower-case hexadecimal digits")
    return value


def decimal(value: str, what: str) -> int:
    if not re.fullmatch("0|[1-9][0-9]{0,18}", value, re.ASCII) or int(value) >= 1 << 63:
        raise Rejected(f"{what} is {value!r}; expected a decimal")
    return int(value)


def decoded(value: Any, what: str, size: int | None = None) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        data = None
    if data is None or base64.b64encode(data).decode() != value:
        raise Rejected(f"{what} is not base64 in its one spelling")
    if size is not None and len(data) != size:
        raise Rejected(f"{what} has {len(data)} bytes; expected {size}")
    return data


def check_signature(public_key: bytes, signature: bytes, message: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Rejected(f"the signature on {what} is not by the key it names") from error


def key_id(public_key: bytes) -> str:
    return sha256(public_key).hexdigest()[:32]


# 2: the checkpoint


class VerifierKey:
    """A vkey, `name+key id+base64(type ‖ key)`, of the one type that is expected."""

    def __init__(self, vkey: str, type_: int) -> None:
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise Rejected(f"{vkey!r} is no vkey")
        material = decoded(parts[2], "the vkey's key", 33)
        self.name, self.public_key = parts[0], material[1:]
        check_name(self.name)
        self.id = sha256(self.name.encode() + b"\n" + material).digest()[:4]
        if material[0] != type_ or parts[1] != self.id.hex():
            raise Rejected(f"the vkey of {self.name} is of another type than {type_}, or its key id is another key's")


def check_name(name: str) -> None:
    if not name or "+" in name or any(sign.isspace() or sign < " " or "\ud800" <= sign <= "\udfff" for sign in name):
        raise Rejected(f"{name!r} is no key name")


class Checkpoint:
    """A signed note whose log signature, and whose witnesses' cosignatures, verify."""

    def __init__(self, note: str, log: VerifierKey, witnesses: list[VerifierKey]) -> None:
        body, blank, signatures = note.rpartition("\n\n")
        if any(sign < " " and sign != "\n" for sign in note) or not blank or not signatures.endswith("\n"):
            raise Rejected("the checkpoint is no signed note")
        signed = body + "\n"
        lines = [signature_line(line) for line in signatures[:-1].split("\n")]
        if len(lines) > 100:
            raise Rejected(f"the checkpoint has {len(lines)} signatures")
        head = body.split("\n")
        if len(head) < 3 or not all(head):
            raise Rejected("the checkpoint lacks a line")
        self.origin, self.size, self.extensions = head[0], decimal(head[1], "the checkpoint's size"), head[3:]
        self.root = decoded(head[2], "the checkpoint's root", 32)
        if self.origin != log.name:
            raise Rejected(f"the checkpoint is of {self.origin}; the key given is that of {log.name}")
        found = [raw for name, id_, raw in lines if (name, id_) == (log.name, log.id)]
        if not found:
            raise Rejected(f"the checkpoint has no signature by the key of {log.name}")
        check_signature(log.public_key, found[0], signed.encode(), "the checkpoint")
        self.seen: dict[tuple[str, bytes], int] = {}
        for witness in witnesses:
            for raw in [raw for name, id_, raw in lines if (name, id_) == (witness.name, witness.id)][:1]:
                if len(raw) != 72:
                    raise Rejected(f"the cosignature of {witness.name} has {len(raw)} bytes")
                at = int.from_bytes(raw[:8], "big")
                message = f"cosignature/v1\ntime {at}\n{signed}".encode()
                check_signature(witness.public_key, raw[8:], message, f"the checkpoint, by {witness.name},")
                self.seen[witness.name, witness.id] = at


def signature_line(line: str) -> tuple[str, bytes, bytes]:
    name, blank, encoded = line.removeprefix("— ").partition(" ")
    if not line.startswith("— ") or not blank:
        raise Rejected(f"{line!r} is no signature line")
    check_name(name)
    data = decoded(encoded, f"the signature of {name}")
    if len(data) <= 4:
        raise Rejected(f"the signature of {name} has {len(data)} bytes")
    return name, data[:4], data[4:]


class Policy:
    """A witness policy: which logs, which witnesses, and how many of them must have cosigned (c2sp.org/tlog-policy)."""

    def __init__(self, data: bytes) -> None:
        if not re.fullmatch(rb"([\t\n -~\x80-\xff]*\n)?", data):
            raise Rejected("the witness policy holds control characters, or its last line does not end")
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, VerifierKey] = {}
        self.groups: dict[str, tuple[int, set[str]]] = {}  # in order: a group's members are defined before it
        self.quorum = ""
        members: set[str] = set()
        for line in data.decode("utf-8", "surrogateescape").split("\n"):  # names are octets
            words = [word for word in re.split("[\t ]+", line) if word]
            if not words or words[0].startswith("#"):
                continue
            name = words[1] if len(words) > 1 else ""
            new = not self._knows(name, "none")
            if words[0] == "quorum" and len(words) == 2 and not self.quorum and not new:
                self.quorum = name
            elif words[0] == "log" and len(words) in (2, 3):
                self.logs.append(self._new(name, 1, self.logs))
            elif words[0] == "witness" and len(words) in (3, 4) and new:
                self.witnesses[name] = self._new(words[2], 4, list(self.witnesses.values()))
            elif words[0] == "group" and len(words) > 3 and new and all(map(self._knows, words[3:])):
                least = {"all": len(words) - 3, "any": 1}.get(words[2])
                least = decimal(words[2], "a threshold") if least is None else least
                if not 1 <= least <= len(words) - 3 or len(members.union(words[3:])) < len(members) + len(words) - 3:
                    raise Rejected(f"{line!r} in the witness policy: no such threshold, or a member a second time")
                members.update(words[3:])
                self.groups[name] = (least, set(words[3:]))
            else:
                raise Rejected(f"{line!r} in the witness policy: no such line, or a name in it is taken or unknown")
        if not self.quorum:
            raise Rejected("the witness policy has no quorum line")

    def _knows(self, name: str, *others: str) -> bool:
        return name in self.witnesses or name in self.groups or name in others

    @staticmethod
    def _new(vkey: str, type_: int, others: list[VerifierKey]) -> VerifierKey:
        key = VerifierKey(vkey, type_)
        if any(key.public_key == other.public_key for other in others):
            raise Rejected(f"the witness policy lists the key {vkey} twice")
        return key

    def check(self, log: VerifierKey, tree: Checkpoint) -> str:
        """Return what the policy found, a sentence."""
        if self.logs and (log.name, log.public_key) not in [(each.name, each.public_key) for each in self.logs]:
            raise Rejected(f"the witness policy does not list this key of {log.name}")
        witnessed = {name for name, witness in self.witnesses.items() if (witness.name, witness.id) in tree.seen}
        for name, (least, members) in self.groups.items():
            if len(witnessed & members) >= least:
                witnessed.add(name)
        if self.quorum not in (*witnessed, "none"):
            raise Rejected(f"the witness policy's quorum {self.quorum!r} did not cosign the checkpoint")
        return f"The quorum {self.quorum!r} of the witness policy is met."


# 4: the entries


def climb(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """Return the root that a proof leads to from a leaf at a place: RFC 9162, section 2.1.3.2."""
    if index >= size:
        raise Rejected(f"the index lies outside a tree of {size}")
    node, last, reached = index, size - 1, sha256(b"\x00" + leaf).digest()
    for sibling in proof:
        if last == 0:
            raise Rejected("the inclusion proof has hashes left over")
        if node & 1 or node == last:
            reached = sha256(b"\x01" + sibling + reached).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            reached = sha256(b"\x01" + reached + sibling).digest()
        node, last = node >> 1, last >> 1
    if last:
        raise Rejected("the inclusion proof ends below the root")
    return reached


def check_inclusion(leaf: bytes, index: int, proof: list[bytes], tree: Checkpoint) -> None:
    if climb(leaf, index, tree.size, proof) != tree.root:
        raise Rejected("the inclusion proof does not lead to the checkpoint's root")


def pae(type_: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    name = type_.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def check_batched(public_key: bytes, signature: bytes, message: bytes, what: str) -> None:
    """A statement's signature, made for it alone or for it and others: docs/ledger-format.md, "Signatures"."""
    if len(signature) > 64:
        path = [signature[at : at + 32] for at in range(72, len(signature), 32)]
        if len(signature) < 72 or any(len(each) != 32 for each in path):
            raise Rejected(f"the signature on {what} has {len(signature)} bytes")
        index, size = (int.from_bytes(signature[at : at + 4], "big") for at in (64, 68))
        if size < 2:
            raise Rejected(f"the signature on {what} says that it was made over a batch of {size}")
        root = climb(message, index, size, path)
        signature, message = signature[:64], pae("application/vnd.grace.signature-batch", root)
    check_signature(public_key, signature, message, what)


class Envelope:
    """A DSSE envelope."""

    def __init__(self, value: Any) -> None:
        members = members_of(value, "a DSSE envelope", "payload payloadType signatures")
        if not isinstance(members["payload"], str):
            raise Rejected("the envelope's payload is no text")
        self.payload = decoded(members["payload"], "the envelope's payload")
        self.type = text(members["payloadType"], "the payloadType")
        self.signatures: list[tuple[str, bytes]] = []
        for item in items(members["signatures"], "the envelope's signatures"):
            one = members_of(item, "a signature", "sig", "keyid")
            name = text(one["keyid"], "a signature's keyid") if "keyid" in one else ""
            self.signatures.append((name, decoded(text(one["sig"], "a signature"), "a signature")))
        if not self.signatures:
            raise Rejected("the envelope has no signature")

    def same_as(self, other: "Envelope") -> bool:
        return (self.payload, self.type, self.signatures) == (other.payload, other.type, other.signatures)

    def check(self, keys: dict[str, bytes]) -> str:
        """Return the id of the key that signed."""
        ((name, signature),) = self.signatures if len(self.signatures) == 1 else ((None, b""),)
        if name is None or name not in keys:
            raise Rejected("it is not signed, once, with a key announced before for this kind of entry")
        check = check_batched if self.type == STATEMENT else check_signature
        check(keys[name], signature, self.signed, f"the envelope, by key {name},")
        return name

    @property
    def signed(self) -> bytes:
        """What the signatures are over: DSSE's pre-authentication encoding."""
        return pae(self.type, self.payload)

    def is_signed_by(self, public_key: bytes) -> bool:
        """Tell whether signatures name this key, and all that do are by it."""
        named = [signature for name, signature in self.signatures if name == key_id(public_key)]
        try:
            for signature in named:
                check_signature(public_key, signature, self.signed, "the envelope")
        except Rejected:
            return False
        return bool(named)


class Fact:
    """A statement of the ledger."""

    def __init__(self, payload: bytes) -> None:
        required = "v id type who what where when why how"
        whole = members_of(parse(payload, "the statement"), "the statement", required, "digest key")
        if number(whole["v"], "the statement's version") != 1:
            raise Rejected(f"the statement is of version {whole['v']}")
        who = members_of(whole["who"], "who", "service actor", "key_id")
        if "key_id" in who and not (isinstance(who["key_id"], str) and KEY_ID.fullmatch(who["key_id"])):
            raise Rejected(f"who.key_id is {who['key_id']!r}; expected 32 lower-case hexadecimal digits")
        what = members_of(whole["what"], "what", "type subject")
        where = members_of(whole["where"], "where", "topic key")
        why = members_of(whole["why"], "why", "correlation_id causation_id")
        how = members_of(whole["how"], "how", "operation_id")
        self.id, self.type = text(whole["id"], "id"), text(whole["type"], "type")
        self.service, self.actor = text(who["service"], "who.service"), text(who["actor"], "who.actor")
        self.named = text(what["subject"], "what.subject")
        self.subject = f"{text(what['type'], 'what.type')} {self.named}"
        self.time, self.operation = text(whole["when"], "when"), text(how["operation_id"], "how.operation_id")
        text(why["correlation_id"], "why.correlation_id")
        for value, name in ((where["topic"], "topic"), (where["key"], "key"), (why["causation_id"], "causation_id")):
            if value is not None:
                text(value, name)
        if not RFC_3339.fullmatch(self.time):
            raise Rejected(f"the time {self.time!r} is not of RFC 3339")
        self.digest: str | None = None
        if "digest" in whole:
            self.digest = digest(members_of(whole["digest"], "digest", "sha256")["sha256"], "digest.sha256")
        self.public_key, self.purpose = b"", ""
        if self.type in (NOTARY_KEY, OPERATION_KEY):
            self._read_key(whole.get("key"))
        elif "key" in whole or self.digest is None:
            raise Rejected(f"a statement of type {self.type} with a key, or without a digest")

    def _read_key(self, value: Any) -> None:
        published = self.type == NOTARY_KEY
        key = members_of(value, "key", "key_id public_key " + ("purpose" if published else "operation_id epoch"))
        self.public_key = decoded(key["public_key"], "key.public_key", 32)
        if key["key_id"] != key_id(self.public_key):
            raise Rejected("key.key_id is not that of the key")
        if published:
            self.purpose = text(key["purpose"], "key.purpose")
            if self.purpose not in ("notary", "attestation"):
                raise Rejected(f"key.purpose is {self.purpose!r}")
        else:
            number(key["epoch"], "key.epoch")
            if text(key["operation_id"], "key.operation_id") != self.operation:
                raise Rejected("the key is announced for another operation")


class Keys:
    """The keys announced so far; entries are read in order, so a key precedes its use."""

    def __init__(self, authorities: list[bytes]) -> None:
        self.authority = {key_id(authority): authority for authority in authorities}
        self.published: dict[str, dict[str, bytes]] = {"notary": {}, "attestation": {}}
        self.operations: dict[str, dict[str, bytes]] = {}

    def may_sign(self, fact: Fact) -> dict[str, bytes]:
        if fact.type == NOTARY_KEY:
            return self.authority
        return self.published["notary"] if fact.type == OPERATION_KEY else self.operations.get(fact.operation, {})

    def learn(self, fact: Fact) -> None:
        if fact.type == NOTARY_KEY:
            self.published[fact.purpose][key_id(fact.public_key)] = fact.public_key
        elif fact.type == OPERATION_KEY:
            self.operations.setdefault(fact.operation, {})[key_id(fact.public_key)] = fact.public_key


# the predicates


def versioned(value: Any, what: str) -> str:
    members = members_of(value, what, "name version")
    version = number(members["version"], f"the version of {what}")
    if not 1 <= version < 10**10:
        raise Rejected(f"the version of {what} is {version}")
    return f"{text(members['name'], f'the name of {what}')}@{version}"


def resources(value: Any, what: str) -> str:
    said = []
    for item in items(value, what):
        one = members_of(item, what, "name digest", others=True)
        hashes = members_of(one["digest"], f"a digest of {what}", "sha256", others=True)
        said.append(f"{text(one['name'], f'a name of {what}')} {digest(hashes['sha256'], f'a digest of {what}')}")
    return "; it rests on " + ", ".join(said) if said else ""


def provenance(said: dict[str, Any]) -> str:
    whole = members_of(said, "the provenance", "buildDefinition runDetails", others=True)
    required = "buildType externalParameters internalParameters resolvedDependencies"
    build = members_of(whole["buildDefinition"], "the buildDefinition", required, others=True)
    run = members_of(whole["runDetails"], "the runDetails", "builder metadata", others=True)
    builder = text(members_of(run["builder"], "the builder", "id", others=True)["id"], "the builder's id")
    metadata = members_of(run["metadata"], "the metadata", "invocationId startedOn finishedOn", others=True)
    text(build["buildType"], "the buildType")
    asked = members_of(build["externalParameters"], "the externalParameters", "", others=True).get("requester")
    members_of(build["internalParameters"], "the internalParameters", "", others=True)
    invocation, started, finished = (text(metadata[name], name) for name in ("invocationId", "startedOn", "finishedOn"))
    for_whom = f" at the request of {asked}" if isinstance(asked, str) else ""
    rests = resources(build["resolvedDependencies"], "the resolvedDependencies")
    return f"{builder} made it in the run {invocation}{for_whom}, from {started} to {finished}{rests}."


def test_result(said: dict[str, Any]) -> str:
    members = members_of(said, "the test result", "result configuration", others=True)
    rests = resources(members["configuration"], "the tests' configuration")
    lists = ("passedTests", "warnedTests", "failedTests")
    passed, warned, failed = (
        [text(name, f"a name of {each}") for name in items(members.get(each, []), each)] for each in lists
    )
    verdict = "FAILED" if failed else "WARNED" if warned else "PASSED"
    if members["result"] != verdict:
        raise Rejected(f"the tests' result is {members['result']!r}; what is listed makes it {verdict}")
    counts = f"{len(passed)} passed, {len(warned)} warned and {len(failed)} failed"
    missed = "".join(f"; {word}: {name}" for word, names in (("failed", failed), ("warned", warned)) for name in names)
    return f"Its tests ended as {verdict}: {counts}{rests}{missed}."


def authorship(said: dict[str, Any]) -> str:
    members = members_of(said, "the authorship", "generator model strategy prompts invocationId candidate")
    told = []
    for item in items(members["prompts"], "the prompts"):
        one = members_of(item, "a prompt", "role digest")
        hashes = members_of(one["digest"], "a prompt's digest", "sha256")
        if one["role"] not in ("system", "user"):
            raise Rejected(f"a prompt's role is {one['role']!r}")
        told.append(f"{one['role']} {digest(hashes['sha256'], 'a prompt')}")
    generator, strategy = text(members["generator"], "generator"), versioned(members["strategy"], "the strategy")
    model = (
        f"the model {text(members['model'], 'model')}" if members["model"] is not None else "no language model named"
    )
    text(members["invocationId"], "invocationId")
    text(members["candidate"], "candidate")
    prompts = ", ".join(told) or "none"
    return (
        f"A machine wrote it: the generator {generator} ({model}) under the strategy {strategy}; "
        f"prompts by SHA-256: {prompts}."
    )


def review(said: dict[str, Any], type_: str, artifact: str, shown: list[tuple[Fact, Any]]) -> str:
    """Step 6; `shown` are the statements with their payloads."""
    members = members_of(said, "the review", "reviewer role policy approved event_id time")
    approved = members_of(members["approved"], "the review's approved", "artifact decision report")
    digests = {name: digest(approved[name], f"the approved {name}") for name in ("artifact", "decision", "report")}
    reviewer, role, event_id, time = (text(members[name], name) for name in ("reviewer", "role", "event_id", "time"))
    policy = members["policy"]
    policy = text(policy, "the policy") if type_ == REVIEWS[0] else versioned(policy, "the policy")
    if digests["artifact"] != artifact:
        raise Rejected(f"the review is of another artifact, {digests['artifact']}")
    approvals = [(fact, payload) for fact, payload in shown if fact.id == event_id]
    if len(approvals) != 1 or not approvals[0][0].type.startswith("grace.approval-given.v") or approvals[0][1] is None:
        raise Rejected(f"the review rests on the approval {event_id}, which the receipt does not show")
    fact, payload = approvals[0]
    record = parse(payload, "the approval")
    data = record.get("data") if isinstance(record, dict) else None
    by, named = (data.get("by"), data.get("digest")) if isinstance(data, dict) else (None, None)
    wanted = sha256(json.dumps(digests, separators=(",", ":")).encode()).hexdigest()
    if (fact.actor, by, named) != (reviewer, reviewer, wanted):
        raise Rejected("the review is not what the approval says")
    return (
        f"{reviewer} approved it as {role} under the policy {policy} at {time}: "
        f"this file, the report {digests['report']} and the decision {digests['decision']}."
    )


def attested(payload: bytes, name: str, artifact: str) -> tuple[str, dict[str, Any]]:
    """Return the predicate's type and the predicate of an in-toto statement about the artifact."""
    required = "_type subject predicateType predicate"
    whole = members_of(parse(payload, "the in-toto statement"), "the in-toto statement", required)
    if whole["_type"] != "https://in-toto.io/Statement/v1":
        raise Rejected(f"the in-toto statement is of type {whole['_type']!r}")
    subjects = []
    for item in items(whole["subject"], "the subjects"):
        subject = members_of(item, "a subject", "name digest")
        hashes = members_of(subject["digest"], "a subject's digest", "sha256")
        subjects.append((text(subject["name"], "a subject's name"), digest(hashes["sha256"], "a subject's sha256")))
    if (name, artifact) not in subjects:
        raise Rejected("it attests another artifact")
    return text(whole["predicateType"], "predicateType"), members_of(
        whole["predicate"], "the predicate", "", others=True
    )


# 7: the key directory


def moment(value: Any, what: str) -> datetime:
    if not isinstance(value, str) or not RFC_3339.fullmatch(value):
        raise Rejected(f"{what} is {value!r}, not a time of RFC 3339")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise Rejected(f"{what} is {value!r}, a time that does not exist") from error


class Directory:
    """One version of the key directory, signed by the root that it names; docs/keys.md, "The key directory"."""

    def __init__(self, data: bytes) -> None:
        self.envelope = Envelope(parse(data, "the directory's envelope"))
        if self.envelope.type != DIRECTORY:
            raise Rejected(f"a payload of type {self.envelope.type} is no key directory")
        required = "v version trust_domain issued expires root previous keys"
        whole = members_of(parse(self.envelope.payload, "the key directory"), "the key directory", required)
        if number(whole["v"], "v") != 1:
            raise Rejected(f"the key directory is of format {whole['v']}")
        self.version, self.domain = number(whole["version"], "version"), text(whole["trust_domain"], "trust_domain")
        self.issued = text(whole["issued"], "issued")
        self.expires = moment(whole["expires"], "expires")
        if whole["previous"] is not None:
            digest(whole["previous"], "previous")
        if self.version < 1 or (self.version == 1) != (whole["previous"] is None):
            raise Rejected(f"version {self.version} of the key directory names {whole['previous']} as the one before")
        if moment(self.issued, "issued") >= self.expires:
            raise Rejected("the key directory expires before it was issued")
        self.root = self._key(members_of(whole["root"], "root", "key_id public_key"))
        self.keys: dict[tuple[str, str, Any], tuple[datetime, datetime | None]] = {}
        for item in items(whole["keys"], "keys"):
            key = members_of(item, "a key", "key_id public_key purpose name not_before not_after")
            purpose, name = key["purpose"], key["name"]
            if purpose not in ("ca", "notary", "attestation", "log", "witness"):
                raise Rejected(f"a key's purpose is {purpose!r}")
            if (purpose in ("log", "witness")) != (name is not None):
                raise Rejected(f"a key for {purpose} is called {name!r}")
            if name is not None:
                text(name, "a key's name")
            begin = moment(key["not_before"], "not_before")
            end = None if key["not_after"] is None else moment(key["not_after"], "not_after")
            if end is not None and end < begin:
                raise Rejected("a key ends before it begins")
            place = (purpose, key_id(self._key(key)), name)
            if place in self.keys:
                raise Rejected("the key directory lists a key twice")
            self.keys[place] = (begin, end)
        if not self.envelope.is_signed_by(self.root):
            raise Rejected(f"the key directory is not signed by its root {key_id(self.root)}")

    @staticmethod
    def _key(members: dict[str, Any]) -> bytes:
        public_key = decoded(members["public_key"], "public_key", 32)
        if members["key_id"] != key_id(public_key):
            raise Rejected("a key_id of the key directory is not that of its key")
        return public_key


def directory_of(shown: list[tuple[int, Fact, Any]], version: int, root: bytes | None) -> tuple[int, Directory]:
    """Return the last directory shown, with its index, once the chain of roots leads to it."""
    trusted, found, before = root, None, 0
    for index, fact, payload in shown:
        if fact.type != DIRECTORY_STATED or payload is None:
            continue
        directory = Directory(payload)
        if str(directory.version) != fact.named or directory.version <= before:
            raise Rejected(f"entry {index} names version {fact.named} of the key directory, not the next shown")
        before = directory.version
        if trusted is None or directory.envelope.is_signed_by(trusted):
            trusted, found = directory.root, (index, directory)
        elif found is not None:
            raise Rejected(f"version {before} of the key directory is not signed by the root before")
    if before == 0 or before != version:
        raise Rejected(f"the receipt does not show version {version} of the key directory")
    if found is None:
        raise Rejected("the key directory is not signed by the root that you named, nor by one that follows from it")
    return found


def check_listed(
    at: int, directory: Directory, uses: list[tuple[str, str, int]], log: VerifierKey, now: datetime
) -> None:
    """`uses` are purpose, key id and index of every signature; `now` is the latest time that the receipt shows."""
    version = f"version {directory.version} of the key directory"
    if now >= directory.expires:
        raise Rejected(f"{version} expired at {directory.expires.isoformat()}")
    key = directory.keys.get(("log", key_id(log.public_key), log.name))
    if key is None or now < key[0] or (key[1] is not None and now >= key[1]):
        raise Rejected(f"the log's key is none that {version} lists as in use")
    for purpose, signer, index in uses:
        key = directory.keys.get((purpose, signer, None))
        if key is None:
            raise Rejected(f"the {purpose} key {signer}, which signed entry {index}, is not in {version}")
        if key[1] is not None and index > at:
            raise Rejected(f"the {purpose} key {signer} signed entry {index}, after {version} had ended it")


def stands_behind(at: int, directory: Directory, pinned: bool) -> str:
    known = "which is the one you named or follows from it" if pinned else "which nobody vouches for but the log"
    return (
        f"Version {directory.version} of the key directory of {directory.domain}, issued at {directory.issued} and "
        f"entry {at} of the log, lists all these keys; the root {key_id(directory.root)} signed it, {known}."
    )


def verify(
    receipt: bytes,
    artifact: bytes,
    log_key: str,
    witness_keys: list[str],
    quorum: int,
    policy: Policy | None = None,
    root: bytes | None = None,
) -> list[str]:
    """Return what is proven, one sentence each; raises Rejected with the first reason found."""
    log, witnesses = VerifierKey(log_key, 1), [VerifierKey(vkey, 4) for vkey in witness_keys]
    everyone = witnesses + (list(policy.witnesses.values()) if policy else [])
    whole = parse(receipt, "the receipt")
    if isinstance(whole, dict) and whole.get("format") not in FORMATS:
        raise Rejected(f"the receipt is of format {whole.get('format')!r}")
    whole = members_of(whole, "the receipt", "format artifact attestations entries keys checkpoint")
    about = members_of(whole["artifact"], "artifact", "name sha256 size")
    name, named = text(about["name"], "artifact.name"), digest(about["sha256"], "artifact.sha256")
    size = number(about["size"], "artifact.size")
    version = None
    if whole["format"] == FORMATS[0]:
        authorities = [decoded(members_of(whole["keys"], "keys", "ca")["ca"], "keys.ca", 32)]
    else:
        named_keys = members_of(whole["keys"], "keys", "ca directory")
        authorities = [decoded(key, "keys.ca", 32) for key in items(named_keys["ca"], "keys.ca")]
        version = number(named_keys["directory"], "keys.directory")
    if not authorities or len(set(authorities)) != len(authorities):
        raise Rejected("keys.ca names no key, or one twice")
    found = sha256(artifact).hexdigest()
    if (found, len(artifact)) != (named, size):  # 1
        raise Rejected(f"the file has {len(artifact)} bytes and SHA-256 {found}; the receipt is for {size} and {named}")
    tree = Checkpoint(text(whole["checkpoint"], "checkpoint"), log, everyone)  # 2
    cosigned = len({witness.name for witness in witnesses if (witness.name, witness.id) in tree.seen})
    if cosigned < quorum:
        raise Rejected(f"{cosigned} of the {quorum} witnesses demanded cosigned the checkpoint")
    met = [policy.check(log, tree)] if policy else []
    if not all(f"grace-ca sha256:{sha256(key).hexdigest()}" in tree.extensions for key in authorities):  # 3
        raise Rejected("the checkpoint does not name the receipt's CA key")
    said = [
        f"The log {tree.origin} signed a tree of {tree.size} entries with root {tree.root.hex()}.",
        *[f"The witness {witness} saw that tree at {at} s." for (witness, _), at in tree.seen.items()],
        *met,
        f"The file is {name}: {size} bytes, SHA-256 {named}.",
    ]
    after_file = len(said)
    keys, last = Keys(authorities), -1
    shown: list[tuple[int, Fact, Any]] = []
    uses: list[tuple[str, str, int]] = []
    logged: list[tuple[int, Envelope, str]] = []
    for item in items(whole["entries"], "entries"):  # 4
        entry = members_of(item, "an entry", "index leaf proof", "payload")
        index = number(entry["index"], "an entry's index")
        if index <= last:
            raise Rejected(f"entry {index} stands after entry {last}")
        last = index
        try:
            leaf = decoded(text(entry["leaf"], "the leaf"), "the leaf")
            proof = [decoded(one, "a hash of the proof", 32) for one in items(entry["proof"], "the proof")]
            payload = decoded(text(entry["payload"], "the payload"), "the payload") if "payload" in entry else None
            check_inclusion(leaf, index, proof, tree)
            envelope = Envelope(parse(leaf, "the DSSE envelope"))
            if envelope.type == IN_TOTO:
                logged.append((index, envelope, envelope.check(keys.published["attestation"])))
                if payload is not None:
                    raise Rejected("an attestation has no payload beside it")
                continue
            if envelope.type != STATEMENT:
                raise Rejected(f"it is of the unknown type {envelope.type}")
            fact = Fact(envelope.payload)
            signer = envelope.check(keys.may_sign(fact))
            if fact.type in (NOTARY_KEY, OPERATION_KEY):
                uses.append(("ca" if fact.type == NOTARY_KEY else "notary", signer, index))
            if payload is not None and sha256(payload).hexdigest() != fact.digest:
                raise Rejected("the payload is not the one that the statement names")
            keys.learn(fact)
            shown.append((index, fact, payload))
        except Rejected as error:
            raise Rejected(f"entry {index}: {error}") from error
    envelopes = [Envelope(item) for item in items(whole["attestations"], "attestations")]  # 5
    if not envelopes or len(envelopes) != len(logged):
        raise Rejected(f"the attestations are {len(envelopes)}, and {len(logged)} entries hold one")
    for number_, (envelope, (index, entry_envelope, signer)) in enumerate(zip(envelopes, logged, strict=True)):
        if not envelope.same_as(entry_envelope):
            raise Rejected(f"the attestations are not those of the entries: number {number_} is not entry {index}")
        try:
            type_, predicate = attested(envelope.payload, name, named)
            said.append(f"Entry {index} attests {type_}, signed with the attestation key {signer}.")
            readers = {PROVENANCE: provenance, TEST_RESULT: test_result, AUTHORSHIP: authorship}
            if type_ in readers:
                said.append(readers[type_](predicate))
            elif type_ in REVIEWS:  # 6
                said.append(review(predicate, type_, named, [(fact, payload) for _, fact, payload in shown]))
        except Rejected as error:
            raise Rejected(f"entry {index}: {error}") from error
    if version is not None:  # 7
        uses += [("attestation", signer, index) for index, _, signer in logged]
        times = [moment(fact.time, "the time") for _, fact, _ in shown]
        times += [datetime.fromtimestamp(min(at, LATEST), UTC) for at in tree.seen.values()]
        at, directory = directory_of(shown, version, root)
        check_listed(at, directory, uses, log, max(times))
        said.insert(after_file, stands_behind(at, directory, root is not None))
    elif root is not None:
        raise Rejected("the receipt shows no key directory, so no root stands behind its keys")
    else:
        said.insert(after_file, NO_DIRECTORY)
    said += [
        f"{fact.service} stated {fact.type} of {fact.subject} for {fact.actor} at {fact.time}." for _, fact, _ in shown
    ]
    return ["".join(sign if sign.isprintable() else "\ufffd" for sign in sentence) for sentence in said]


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify a Grace receipt offline.")
    parser.add_argument("receipt", type=Path)
    parser.add_argument("file", type=Path, help="the artifact that the receipt is for")
    parser.add_argument("--log-key", required=True, metavar="VKEY", help="the log's public key, from a place you trust")
    parser.add_argument("--witness-key", action="append", default=[], metavar="VKEY", help="a witness's; repeatable")
    parser.add_argument("--quorum", type=int, default=0, help="how many witnesses must have cosigned")
    parser.add_argument("--witness-policy", type=Path, metavar="FILE", help="which must have: c2sp.org/tlog-policy")
    parser.add_argument(
        "--root-key", metavar="KEY", help="the public key, in base64, of the root that must stand behind"
    )
    given = parser.parse_args()
    try:
        root = decoded(given.root_key, "the root's key", 32) if given.root_key else None
        receipt, artifact = given.receipt.read_bytes(), given.file.read_bytes()
        policy = Policy(given.witness_policy.read_bytes()) if given.witness_policy else None
    except (OSError, Rejected) as error:
        parser.error(str(error))
    try:
        sentences = verify(receipt, artifact, given.log_key.strip(), given.witness_key, given.quorum, policy, root)
    except Rejected as error:
        print(f"the receipt does not hold: {error}", file=sys.stderr)
        return 1
    print(f"{given.receipt} proves:", *sentences, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
