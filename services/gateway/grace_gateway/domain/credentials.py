"""Credentials that somebody put where they do not belong: in a path, or as a member's name."""

import re
from typing import Final

# API keys as Grace makes them, and JSON Web Tokens (RFC 7519): three parts in base64url, the first an object.
_CREDENTIAL: Final = re.compile(r"grc_[A-Za-z0-9_-]{8,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
WITHHELD: Final = "[credential]"


def without_credentials(text: str) -> str:
    """Return a text that may be recorded and answered: what looks like a credential is left out."""
    return _CREDENTIAL.sub(WITHHELD, text)
