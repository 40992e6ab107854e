"""Verifying a receipt with nothing but its file, the file it is for, and the log's key: no network, no services.

`grace receipt verify` in its usual form is run from here, without the command line's framework, whose import takes
longer than the proof. `grace_cli.commands.receipt` declares the command, and answers help, wrong usage and the other
options.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grace_cli.errors import CliError, Exit

if TYPE_CHECKING:
    from grace_common.transparency.policy import Policy


def verified_at_once(words: Sequence[str]) -> bool:
    """Run `receipt verify RECEIPT FILE --log-key VKEY|FILE [--root-key KEY|FILE] [--witness-policy FILE] [--json]`.

    returns False for other words

    raises  CliError as the command does
    """
    if list(words[:2]) != ["receipt", "verify"]:
        return False
    files: list[str] = []
    given: dict[str, list[str]] = {"--log-key": [], "--root-key": [], "--witness-policy": []}
    as_json = False
    waiting = list(words[2:])
    while waiting:
        name, equals, value = waiting.pop(0).partition("=")
        if name in given and (equals or waiting):
            given[name].append(value if equals else waiting.pop(0))
        elif name == "--json" and not equals:
            as_json = True
        elif name.startswith("-"):
            return False
        else:
            files.append(name + equals + value)
    if len(files) != 2 or len(given["--log-key"]) != 1 or any(len(values) > 1 for values in given.values()):
        return False
    root, policy = (given[name][0] if given[name] else None for name in ("--root-key", "--witness-policy"))
    verify(
        Path(files[0]),
        Path(files[1]),
        given["--log-key"][0],
        policy_file=None if policy is None else Path(policy),
        root=root,
        as_json=as_json,
    )
    return True


def verify(
    receipt: Path,
    code: Path,
    key: str | None,
    witness_keys: Sequence[str] = (),
    quorum: int = 0,
    policy_file: Path | None = None,
    root: str | None = None,
    as_json: bool = False,
) -> None:
    """Verify a receipt and print what it proves; raises CliError when it proves nothing."""
    from grace_common.transparency.receipt import ReceiptRejected, verify_receipt

    vkey, source = log_key(key)
    policy, root_key = read_policy(policy_file), read_root(root)
    try:
        findings = verify_receipt(content_of(receipt), content_of(code), vkey, witness_keys, quorum, policy, root_key)
    except ReceiptRejected as error:
        advice = "do not rely on the file; is it the one that was delivered, and the key the right log's?"
        raise CliError(f"the receipt does not hold: {error}", advice) from error
    if as_json:
        said = {"verified": True, "log_key": vkey, "log_key_from": source, "proven": findings.sentences}
        print(json.dumps(said, ensure_ascii=False))
        return
    print(f"{receipt} proves:")
    for sentence in findings.sentences:
        print(f"  {sentence}")
    if policy is not None:
        print(f"  The quorum {policy.quorum!r} of the witness policy {policy_file} is met.")
    if key is None:
        print(
            f"The log's key was taken from this machine's stack ({source}). Somebody else must get it "
            "from a place they trust and pass it with --log-key."
        )


def log_key(given: str | None) -> tuple[str, str]:
    """Return the vkey and where it came from: what was given, else the local stack's; raises CliError."""
    if given is not None and not Path(given).exists() and given.count("+") >= 2:
        return given.strip(), "--log-key"
    if given is not None:
        path = Path(given)
    else:
        from grace_cli.stack.home import find_home

        path = find_home(os.environ, Path.cwd()).publication / "vkey"
    try:
        return path.read_text().strip(), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(
            f"the log's key cannot be read from {path}: {error}",
            "pass --log-key with the log's vkey (name+keyid+base64) or a file that holds it",
            Exit.USAGE,
        ) from error


def read_root(given: str | None) -> bytes | None:
    """Return the root's public key, given in base64 or as a file that holds it; None for none. Raises CliError."""
    from grace_common.contract.errors import Refused
    from grace_common.transparency.ed25519 import PUBLIC_KEY_BYTES
    from grace_common.transparency.strict import decode_base64

    if given is None:
        return None
    try:
        text = Path(given).read_text() if Path(given).exists() else given
        return decode_base64(text.strip(), "the root's key", PUBLIC_KEY_BYTES)
    except (OSError, UnicodeDecodeError, Refused) as error:
        advice = "pass the root's public key in base64, as `grace keys status` shows it, or a file that holds it"
        raise CliError(f"{given} is no key of a root: {error}", advice, Exit.USAGE) from error


def read_policy(file: Path | None) -> "Policy | None":
    """Return the witness policy in a file, None for none; raises CliError."""
    from grace_common.contract.errors import Refused
    from grace_common.transparency.policy import Policy

    if file is None:
        return None
    try:
        return Policy.parse(file.read_bytes())
    except (OSError, Refused) as error:
        advice = "log, witness, group and quorum lines: c2sp.org/tlog-policy, docs/cli.md"
        raise CliError(f"{file} is no witness policy: {error}", advice, Exit.USAGE) from error


def content_of(path: Path) -> bytes:
    """Return a file's bytes; raises CliError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}", "is the path right?", Exit.USAGE) from error
