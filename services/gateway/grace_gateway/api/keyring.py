"""Telling who is asking by an API key: `Authorization: Bearer grc_…`."""

import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from grace_common.contract.errors import Refused, Unready

from grace_gateway.domain.roles import Identity
from grace_gateway.ports import ApiKey

PREFIX: Final = "grc_"
_SECRET_BYTES: Final = 32


class Unauthenticated(Refused):
    """The credential is missing, malformed, unknown, expired or revoked (401)."""


@dataclass
class Keyring:
    """Every usable API key by its keyed hash, so that neither memory nor database holds a key itself.

    read_pepper  returns the HMAC key, which lies in a file that only the gateway can read: hashes alone do not let
                 anybody test guesses. It is read with the first keys, so that migrating needs no secret.
    """

    read_pepper: Callable[[], bytes]
    _pepper: bytes | None = None
    _by_hash: dict[str, ApiKey] = field(default_factory=dict)

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """Know exactly these keys from now on; raises Refused when there is no pepper."""
        if self._pepper is None:
            self._pepper = self.read_pepper()
        self._by_hash = {key.hash: key for key in keys}

    def hash(self, key: str) -> str:
        """Return HMAC-SHA-256 of a key in hex, as it is stored; Unready before the first keys are known."""
        if self._pepper is None:
            raise Unready("the gateway is starting and knows no API keys yet")
        return hmac.digest(self._pepper, key.encode(), "sha256").hex()

    def make(self) -> tuple[str, str]:
        """Return a new key and its hash; the key is shown once and kept nowhere."""
        key = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        return key, self.hash(key)

    def identify(self, authorization: str | None, now: datetime) -> Identity:
        """Return who holds the bearer key of an `Authorization` header.

        The lookup compares keyed hashes, so its timing tells nothing about keys; the last comparison is constant-time.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated("an API key is needed: Authorization: Bearer grc_…")
        return self.identify_key(key.strip(), now)

    def identify_key(self, key: str, now: datetime) -> Identity:
        """Return who holds a key; raises Unauthenticated for one that is unknown, revoked or expired."""
        presented = self.hash(key)
        known = self._by_hash.get(presented)
        if known is None or not hmac.compare_digest(known.hash, presented) or known.revoked_at is not None:
            raise Unauthenticated("the API key is unknown or was revoked")
        if known.expires_at is not None and known.expires_at <= now:
            raise Unauthenticated(
                f"the API key expired at {known.expires_at.isoformat()}; ask an operator for a new one"
            )
        return known.identity()
