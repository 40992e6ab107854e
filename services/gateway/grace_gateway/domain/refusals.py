"""Why a request has no effect; the API turns each into the HTTP status that says the same."""

from grace_common.contract.errors import Refused


class Unknown(Refused):
    """There is no such thing, or the one who asks may not see it (404)."""


class Forbidden(Refused):
    """The one who asks may see it but not do this (403)."""


class Conflicting(Refused):
    """The thing is not in a state that allows this, or another request was first (409)."""


class Unprocessable(Refused):
    """The request is well-formed and says something that cannot be done (422)."""
