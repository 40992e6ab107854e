"""What an approval names: digests that any other tool computes to the byte."""

from hashlib import sha256

import pytest
from grace_common.contract.approval import approval_digest, artifact_sha256, decision_sha256, report_sha256
from grace_common.contract.errors import Refused
from grace_common.testing.events import TASK, decision_reached
from hypothesis import given
from hypothesis import strategies as st

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def test_an_artifact_is_named_by_the_digest_of_its_utf8_bytes() -> None:
    assert artifact_sha256("π = 3\n") == sha256("π = 3\n".encode()).hexdigest()


def test_a_report_is_named_by_its_compact_sorted_json() -> None:
    assert report_sha256({"b": [1, "ü"], "a": None}) == sha256('{"a":null,"b":[1,"ü"]}'.encode()).hexdigest()


def test_a_report_that_json_cannot_say_is_refused() -> None:
    with pytest.raises(Refused, match="no canonical bytes"):
        report_sha256({"a": {1, 2}})


def test_two_decisions_have_two_names() -> None:
    assert decision_sha256(decision_reached(TASK)) != decision_sha256(decision_reached(TASK, confidence=0.91))


@given(artifact=DIGESTS, report=DIGESTS, decision=DIGESTS)
def test_an_approval_names_all_three_and_each_in_its_place(artifact: str, report: str, decision: str) -> None:
    digest = approval_digest(artifact=artifact, report=report, decision=decision)
    text = f'{{"artifact":"{artifact}","decision":"{decision}","report":"{report}"}}'

    assert digest == sha256(text.encode()).hexdigest()
    if artifact != report:
        assert digest != approval_digest(artifact=report, report=artifact, decision=decision)
