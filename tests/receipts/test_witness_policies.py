"""Both verifiers read witness policies alike: what is no policy, and which cosignatures satisfy one."""

import json
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.testing.ledger import Delivery, MemoryLedger, SeededKey
from grace_common.transparency.note import Note, SignatureType, cosign
from grace_common.transparency.policy import Policy
from grace_common.transparency.receipt import verify_receipt

STAND_ALONE: Final = Path(__file__).parent.parent.parent / "contrib/verify_receipt.py"
ORIGINS: Final = {"a": "same.example", "b": "same.example", "c": "c.example", "d": "d.example", "é": "e.example"}
SIGNERS: Final = {name: SeededKey(name) for name in ORIGINS}
KEYS: Final = {name: SIGNERS[name].named(origin, SignatureType.COSIGNATURE) for name, origin in ORIGINS.items()}
DEFINED: Final = "".join(f"witness {name} {key}\n" for name, key in KEYS.items())
OTHER_LOG: Final = SeededKey("other").named("log.example/grace")
THIEF: Final = SeededKey("thief").named("d.example", SignatureType.COSIGNATURE)

# Reads receipts with policies from standard input, and says of each why it is rejected, or null.
ASK: Final = """
import json, runpy, sys
from base64 import b64decode
verifier = runpy.run_path(sys.argv[1])
for line in sys.stdin:
    receipt, artifact, vkey, policy = json.loads(line)
    try:
        verifier["verify"](b64decode(receipt), b64decode(artifact), vkey, [], 0, verifier["Policy"](b64decode(policy)))
    except verifier["Rejected"] as error:
        print(json.dumps(str(error) or "?"))
    else:
        print("null")
"""


def delivered(cosigners: str) -> Delivery:
    """A receipt whose checkpoint these witnesses cosigned."""
    plain = MemoryLedger().deliver()
    note = Note.parse(plain.receipt.checkpoint)
    for name in cosigners:
        note = note.with_signature(cosign(note.text, KEYS[name], SIGNERS[name].sign, 1_700_000_000))
    return replace(plain, receipt=replace(plain.receipt, checkpoint=note.encode()))


def refusals(cases: list[tuple[Delivery, bytes]]) -> list[tuple[str | None, str | None]]:
    """Why Grace's own verifier, and why the stand-alone one, rejects each; None where it accepts."""
    lines = []
    own: list[str | None] = []
    for delivery, policy in cases:
        receipt, artifact, vkey = delivery.receipt.encode(), delivery.artifact, delivery.log_vkey
        encoded = [b64encode(part).decode() for part in (receipt, artifact, policy)]
        lines.append(json.dumps([encoded[0], encoded[1], vkey, encoded[2]]))
        try:
            verify_receipt(receipt, artifact, vkey, policy=Policy.parse(policy))
        except Refused as error:
            own.append(str(error))
        else:
            own.append(None)
    command = [sys.executable, "-I", "-c", ASK, str(STAND_ALONE)]
    asked = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    return list(zip(own, map(json.loads, asked.stdout.splitlines()), strict=True))


def test_both_demand_the_quorum_of_every_policy() -> None:
    log = MemoryLedger().log.key
    quorums = [
        "quorum none",
        *(f"quorum {name}" for name in KEYS),
        "group g 2 a b c\nquorum g",
        "group g all a c é\nquorum g",
        "group g any a b\ngroup h any c d\ngroup i all g h é\nquorum i",
        "group g 2 a b c\ngroup h any d é\nquorum h",
        "group g all a\ngroup h 1 g b\nquorum h",
    ]
    policies = [f"{DEFINED}{quorum}\n".encode() for quorum in quorums]
    policies += [
        f"# the log\n\n\tlog  {OTHER_LOG} https://o.example\nlog\t{log} \n".encode() + each for each in policies
    ]
    policies += [f"witness {name} {key}\nquorum {name}\n".encode("latin-1") for name, key in KEYS.items()]
    seen_by = ["".join(names) for count in range(len(KEYS) + 1) for names in combinations(KEYS, count)]
    cases = [(delivery, policy) for delivery in map(delivered, seen_by) for policy in policies]

    judged = refusals(cases)

    assert all((own is None) == (other is None) for own, other in judged)
    none_of_them, all_of_them = judged[: len(policies)], judged[-len(policies) :]
    assert [own is None for own, _ in none_of_them].count(True) == 2
    assert all(own is None for own, _ in all_of_them)


def test_both_refuse_what_the_policy_excludes() -> None:
    forger = delivered("ac")
    note = Note.parse(forger.receipt.checkpoint)
    stolen = note.with_signature(cosign(note.text, KEYS["d"], SeededKey("thief").sign, 1_700_000_000))
    forged = replace(forger, receipt=replace(forger.receipt, checkpoint=stolen.encode()))
    cases = [
        (forger, f"log {OTHER_LOG}\nquorum none\n".encode()),
        (forged, f"{DEFINED}quorum none\n".encode()),
        (forger, f"witness d {THIEF}\nquorum d\n".encode()),
    ]

    assert all(own and other for own, other in refusals(cases))
    assert refusals([(forged, f"witness a {KEYS['a']}\nquorum a\n".encode())]) == [(None, None)]  # not a key of its


def test_both_refuse_what_is_no_policy() -> None:
    delivery, log = delivered("abcdé"), MemoryLedger().log.key
    wrong = [
        *("", "quorum none", "quorum none\r\n", "quorum\n", "quorum none none\n", "quorum none\nquorum none\n", "\n"),
        *(f"{DEFINED}quorum {name}\n" for name in ("f", "A", "e\u0301")),
        *(f"{DEFINED}group {group}\nquorum a\n" for group in ("g any", "g 0 a", "g 4 a b c", "g 01 a", "g most a")),
        *(
            f"{DEFINED}group {group}\nquorum a\n"
            for group in ("g any g", "a any b", "none any a", "g any a a", "g 2 a a")
        ),
        *(f"{DEFINED}group g any a\ngroup {group}\nquorum a\n" for group in ("h any a", "g any b")),
        *(f"log {key}\nquorum none\n" for key in (KEYS["a"], f"{log}\nlog {log}", "x", f"{log} u u", "")),
        *(f"{line}\nquorum none\n" for line in (f"witness a {log}", "witness a", f"witness none {KEYS['a']}")),
        *(f"{DEFINED}{line}\nquorum a\n" for line in (f"witness a {THIEF}", f"witness f {KEYS['a']}", "policy 1", "x")),
        f"quorum a\n{DEFINED}",
        f"witness \u212a {KEYS['a']}\nquorum K\n",
    ]
    encoded = [text.encode() for text in wrong]
    encoded.append(b"witness a \xe9+00000000+" + str(KEYS["a"]).split("+", 2)[2].encode() + b"\nquorum a\n")

    for text, (own, other) in zip(encoded, refusals([(delivery, policy) for policy in encoded]), strict=True):
        assert own is not None, text
        assert other is not None, text


def test_the_stand_alone_verifier_says_which_quorum_is_met_and_which_is_not(tmp_path: Path) -> None:
    delivery = delivered("ac")
    (tmp_path / "receipt").write_bytes(delivery.receipt.encode())
    (tmp_path / "code").write_bytes(delivery.artifact)

    def ask(policy: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "policy").write_text(policy)
        options = ["--log-key", delivery.log_vkey, "--witness-policy", str(tmp_path / "policy")]
        command = [sys.executable, "-I", str(STAND_ALONE), str(tmp_path / "receipt"), str(tmp_path / "code"), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    met, missed, none = (
        ask(policy) for policy in (f"{DEFINED}quorum c\n", f"{DEFINED}quorum d\n", f"{DEFINED}quorum e\n")
    )

    assert met.returncode == 0
    assert "The witness c.example saw that tree at 1700000000 s." in met.stdout
    assert "The quorum 'c' of the witness policy is met." in met.stdout
    assert (missed.returncode, missed.stdout) == (1, "")
    assert missed.stderr == (
        "the receipt does not hold: the witness policy's quorum 'd' did not cosign the checkpoint\n"
    )
    assert (none.returncode, "'quorum e' in the witness policy" in none.stderr) == (2, True)
