"""Errors named by consequence: the class says what becomes of the record, the message what was found and expected."""


class GraceError(Exception):
    """Whatever Grace raises on purpose."""


class Refused(GraceError):
    """The input is invalid or breaks a rule: dead-letter topic, offset committed; over HTTP a 4xx answer."""


class Unready(GraceError):
    """Something needed is absent for now: retried with backoff, offset kept; over HTTP a 503 answer."""
