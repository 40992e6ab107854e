"""What to tell people when a model's server gives no answer: which setting to look at."""

from urllib.parse import urlsplit

from grace_common.contract.errors import Refused, Unready


def require_url(url: str, setting: str) -> None:
    """Raise Refused when the setting's value is no address of a web server."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise Refused(f"{setting} is no URL of a server; expected something like http://127.0.0.1:11434/v1")


def not_reached(server: str, error: Exception, setting: str) -> Unready:
    """Nobody answered at all, or not in time."""
    return Unready(
        f"{server} does not answer ({type(error).__name__}); check that it runs and that {setting} names it, "
        "or raise GRACE_MODEL_TIMEOUT_S"
    )


def refused(server: str, status: int, *, url: str, key: str, model: str) -> Unready:
    """The server answered with an error status; its words are left out, for they may repeat the key or the prompt.

    url, key, model  the settings that such a status speaks of
    """
    match status:
        case 401 | 403:
            return Unready(f"{server} does not accept the credential (status {status}); check {key}")
        case 404:
            advice = f"check {model}, and that {url} ends where its API begins"
        case 429:
            advice = "its limit is used up; wait, or raise the limit there"
        case 400 | 413 | 422:
            advice = f"check {model}, GRACE_MODEL_TEMPERATURE and GRACE_MODEL_MAX_TOKENS, which it may not take so"
        case _:
            advice = f"look at that server's log, and check {url}"
    return Unready(f"{server} answered with status {status}; {advice}")


def not_understood(server: str, url: str) -> Unready:
    """It answered, but not in its API's form."""
    return Unready(f"{server} answered something that is no completion; check that {url} ends where its API begins")
