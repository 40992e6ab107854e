"""Certificates that the runtime accepts."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from grace_common.contract.errors import Refused
from grace_common.runtime.identity import key_id, subject_of
from grace_crypto_signer.domain.certificate import AUTHORITY_LIFE, Authority, lasts, stated

from .examples import TIME, private_key

CA = Authority.create(private_key("ca"), "grace.local", serial=1, now=TIME)
KEY = private_key("gateway").public_key()


def issued(**changes: object) -> x509.Certificate:
    arguments = {"serial": 2, "now": TIME, "until": TIME + timedelta(days=30)} | changes
    return CA.issue("service/gateway", KEY, **arguments)  # type: ignore[arg-type]


def test_a_certificate_names_the_service_and_comes_from_the_ca() -> None:
    certificate = issued()

    certificate.verify_directly_issued_by(CA.certificate)
    assert subject_of(certificate, "grace.local") == "service/gateway"
    assert certificate.not_valid_before_utc <= TIME
    assert certificate.not_valid_after_utc == TIME + timedelta(days=30)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca


def test_the_same_request_gives_the_same_certificate() -> None:
    assert issued() == issued()


def test_another_ca_is_not_taken_for_this_one() -> None:
    other = Authority.create(private_key("other"), "grace.local", serial=1, now=TIME)

    with pytest.raises(InvalidSignature):
        issued().verify_directly_issued_by(other.certificate)


@pytest.mark.parametrize("until", [TIME, TIME - timedelta(days=1), TIME + AUTHORITY_LIFE + timedelta(days=1)])
def test_a_certificate_neither_ends_before_it_begins_nor_outlives_its_ca(until: object) -> None:
    with pytest.raises(Refused, match="outlive"):
        issued(until=until)


@pytest.mark.parametrize(
    ("after", "still"),
    [(timedelta(days=-1), False), (timedelta(0), True), (timedelta(days=19), True), (timedelta(days=21), False)],
)
def test_a_certificate_lasts_until_a_third_of_its_life_is_left(after: timedelta, still: bool) -> None:
    assert lasts(issued(), TIME + after) is still


def test_what_is_stated_of_a_certificate_is_what_it_says() -> None:
    event = stated(issued(), "service/gateway", ("requester",))

    assert event.key_id == key_id(KEY)
    assert (event.subject, event.roles) == ("service/gateway", ("requester",))
    assert event.certificate == issued().public_bytes(Encoding.DER)
    assert (event.not_before, event.not_after) == (issued().not_valid_before_utc, issued().not_valid_after_utc)


def test_a_certificate_of_another_kind_of_key_is_not_stated() -> None:
    key = generate_private_key(SECP256R1())
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(TIME)
        .not_valid_after(TIME + timedelta(days=1))
        .sign(private_key("ca"), None)
    )

    with pytest.raises(Refused, match="Ed25519"):
        stated(certificate, "service/gateway")
