"""C2SP tlog-policy: the specification's example, what it forbids, and which cosignatures satisfy a quorum."""

from itertools import combinations

import pytest
from grace_common.contract.errors import Refused
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.checkpoint import Checkpoint, QuorumMissing, sign_checkpoint
from grace_common.transparency.ed25519 import SignatureInvalid
from grace_common.transparency.note import Note, SignatureType, cosign
from grace_common.transparency.policy import Policy
from grace_common.transparency.strict import Malformed

LOG = SeededKey("log")
LOG_KEY = LOG.named("log.example")
NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
KEYS = {name: SeededKey(name).named(f"{name}.example", SignatureType.COSIGNATURE) for name in NAMES}
A, B = KEYS["X1"], KEYS["X2"]
# The example of c2sp.org/tlog-policy, with keys.
EXAMPLE = f"""
log {LOG_KEY}

witness X1 {KEYS["X1"]}
witness X2 {KEYS["X2"]}  https://x2.example/witness
witness X3 {KEYS["X3"]}
group X-witnesses 2 X1 X2 X3
  # the other organisation
\twitness\tY1  {KEYS["Y1"]}
witness Y2 {KEYS["Y2"]}
witness Y3 {KEYS["Y3"]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def cosigned(*names: str, spoiled: bool = False) -> bytes:
    note = Note.parse(sign_checkpoint(Checkpoint("log.example", 7, b"r" * 32), LOG_KEY, LOG.sign))
    for name in names:
        signer = SeededKey("thief" if spoiled else name)
        note = note.with_signature(cosign(note.text, KEYS[name], signer.sign, 1_700_000_000))
    return note.encode()


def policy(text: str) -> Policy:
    return Policy.parse(text.encode())


def test_the_specifications_example_demands_two_of_x_and_one_of_y() -> None:
    example = policy(EXAMPLE)

    for count in range(len(NAMES) + 1):
        for names in combinations(NAMES, count):
            by = "".join(names)
            assert example.satisfied_by(names) == (by.count("X") >= 2 and by.count("Y") >= 1), names


def test_the_addresses_of_witnesses_are_kept_where_the_policy_has_them() -> None:
    assert policy(EXAMPLE).urls == {"X2": "https://x2.example/witness"}


def test_a_checkpoint_with_the_quorum_opens_with_its_cosigners() -> None:
    opened = policy(EXAMPLE).open(cosigned("X1", "X3", "Y2"))

    assert opened.checkpoint.size == 7
    assert [each.name for each in opened.cosigners] == ["X1.example", "X3.example", "Y2.example"]


def test_a_checkpoint_below_the_quorum_is_refused_and_told_who_cosigned() -> None:
    with pytest.raises(QuorumMissing, match="'X-and-Y'; X1, Y2 cosigned"):
        policy(EXAMPLE).open(cosigned("X1", "Y2"))
    with pytest.raises(QuorumMissing, match="none of its witnesses cosigned"):
        policy(EXAMPLE).open(cosigned())


def test_a_cosignature_that_a_known_key_did_not_make_spoils_the_checkpoint() -> None:
    with pytest.raises(SignatureInvalid):
        policy(EXAMPLE).open(cosigned("X1", spoiled=True))


def test_no_cosignature_is_needed_for_the_quorum_none() -> None:
    assert policy(f"log {LOG_KEY}\nquorum none\n").open(cosigned()).checkpoint.size == 7


def test_the_quorum_may_be_one_witness() -> None:
    one = policy(f"witness a {A}\nquorum a\n")

    assert one.open(cosigned("X1"), LOG_KEY).cosigners[0].name == "X1.example"
    with pytest.raises(QuorumMissing):
        one.open(cosigned("X2"), LOG_KEY)


def test_a_policy_that_lists_logs_accepts_only_those() -> None:
    stranger = SeededKey("stranger").named("log.example")

    with pytest.raises(SignatureInvalid, match="not one of those"):
        policy(f"log {stranger}\nquorum none\n").open(cosigned(), LOG_KEY)
    with pytest.raises(SignatureInvalid, match="no log of the policy"):
        policy(f"log {stranger}\nquorum none\n").open(cosigned())
    assert policy(f"log {stranger}\nlog {LOG_KEY}\nquorum none\n").open(cosigned()).checkpoint.size == 7


def test_a_policy_without_logs_needs_the_logs_key_from_elsewhere() -> None:
    with pytest.raises(Refused, match="lists no log"):
        policy("quorum none\n").open(cosigned())


def test_names_are_opaque_octets() -> None:
    latin = f"witness \xe9 {A}\nquorum \xe9\n".encode("latin-1")

    assert Policy.parse(latin).open(cosigned("X1"), LOG_KEY).checkpoint.size == 7
    with pytest.raises(Malformed, match="no witness or group"):
        Policy.parse(f"witness K {A}\nquorum \u212a\n".encode())
    with pytest.raises(Malformed, match="no key name"):  # a key's name is text, as the note that carries it
        Policy.parse(b"witness a \xe9+00000000+" + str(A).split("+", 2)[2].encode() + b"\nquorum a\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no quorum line"),
        (f"witness a {A}\n", "no quorum line"),
        ("quorum none", "newline"),
        ("quorum none\r\n", "control character"),
        ("quorum none\nquorum none\n", "line 2 .* second quorum"),
        ("quorum a\n", "no witness or group"),
        (f"quorum a\nwitness a {A}\n", "line 1 .* no witness or group"),
        (f"witness none {A}\nquorum none\n", "taken"),
        (f"witness a {A}\nwitness a {B}\nquorum a\n", "taken"),
        (f"witness a {A}\nwitness b {A}\nquorum a\n", "listed already"),
        (
            f"witness a {A}\nwitness b {SeededKey('X1').named('z', SignatureType.COSIGNATURE)}\nquorum a\n",
            "listed already",
        ),
        (f"log {LOG_KEY}\nlog {LOG_KEY}\nquorum none\n", "listed already"),
        (f"log {A}\nquorum none\n", "type 04"),
        (f"witness a {LOG_KEY}\nquorum a\n", "type 01"),
        ("log nonsense\nquorum none\n", "no vkey"),
        (f"witness a {A}\ngroup g 2 a\nquorum g\n", "threshold of 2 among 1"),
        (f"witness a {A}\ngroup g 0 a\nquorum g\n", "threshold of 0"),
        (f"witness a {A}\ngroup g 01 a\nquorum g\n", "threshold is '01'"),
        (f"witness a {A}\ngroup g any\nquorum g\n", "is none of"),
        (f"witness a {A}\ngroup g any none\nquorum g\n", "no witness or group"),
        (f"witness a {A}\ngroup g any g\nquorum g\n", "no witness or group"),
        (f"witness a {A}\ngroup g any a a\nquorum g\n", "member already"),
        (f"witness a {A}\ngroup g any a\ngroup h any a\nquorum h\n", "member already"),
        ("policy 1\n", "is none of"),
    ],
)
def test_what_the_specification_forbids_is_refused(text: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        policy(text)


def test_of_several_keys_of_the_log_those_count_that_the_policy_lists() -> None:
    successor = SeededKey("successor")
    new = successor.named("log.example")
    checkpoint = Checkpoint("log.example", 7, b"r" * 32)
    both, alone = sign_checkpoint(checkpoint, new, successor.sign, (LOG_KEY, LOG.sign)), cosigned()
    listing, open_to_all = policy(f"log {LOG_KEY}\nquorum none\n"), policy("quorum none\n")

    assert listing.open(both, [new, LOG_KEY]).signers == (LOG_KEY,)
    assert listing.open(both).signers == (LOG_KEY,)
    assert open_to_all.open(alone, [new, LOG_KEY]).signers == (LOG_KEY,)
    assert policy(f"log {LOG_KEY}\nlog {new}\nquorum none\n").open(both).signers == (LOG_KEY, new)
    with pytest.raises(SignatureInvalid, match="not one of those that the policy lists"):
        listing.open(both, [new])
    with pytest.raises(SignatureInvalid, match="no signature by"):
        listing.open(sign_checkpoint(checkpoint, new, successor.sign), [new, LOG_KEY])
