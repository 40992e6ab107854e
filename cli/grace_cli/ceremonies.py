"""`grace keys split`, `backup`, `restore`, `drill`, …: what people do with the keys of this machine's Grace.

Passphrases are asked for on the terminal, or read from a file of mode 0600 (`{"ada": "…", "kek": "…"}`).
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, print_json

KEK: str = "kek"
_CA_STATES = {
    "certifies": "certifies",
    "next": "is made and certifies nothing yet: grace keys rotate ca goes on",
    "counts": "was replaced and counts still: grace keys retire ca ends it",
    "ended": "has ended",
}

_LOG_DUE = {
    "rotate": "is due to succeed it: grace keys rotate log --share …",
    "retire": "is due to end: grace keys retire log --share …",
}

_LOG_LEFT = {
    "not in the backup": "this backup holds none.",
    "no folder named": "left in the backup.",
    "left as it is": "there is one here already, which stays.",
}

Shares = Annotated[
    list[Path] | None, typer.Option("--share", metavar="FILE", help="A share of the root; give three of them.")
]
Passphrases = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Passphrases by holder (and `kek`) as JSON, mode 0600; else they are asked for."),
]


def split(
    out: Annotated[Path, typer.Option(help="The folder for the share files.")],
    holder: Annotated[list[str], typer.Option(help="Who holds a share; five as a rule, three of whom are needed.")],
    share: Shares = None,
    passphrases: Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """Hand out shares of the root; from then on the root exists as shares alone."""
    known = _Passphrases(passphrases)
    request = {
        "folder": str(out.absolute()),
        "holders": [{"name": name, "passphrase": known.new(name)} for name in holder],
        "shares": _shares(share, known),
    }
    answer = _ask("split", request)
    if as_json:
        print_json(answer)
        return
    print(f"The root {answer['root']} is split. Any three of these make it again; fewer tell nothing:")
    for name in answer["shares"]:
        print(f"  {answer['folder']}/{name}")
    print("Hand each to its holder on a medium of its own and remove it here. Then: grace keys backup FILE")


def passphrase(
    kept: Annotated[bool, typer.Option("--kept", help="Make one and keep it beside the keys (mode 0600).")] = False,
    share: Shares = None,
    passphrases: Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """Give the key-encryption key another passphrase, which the signer does not keep unless told."""
    known = _Passphrases(passphrases)
    request = {"shares": _shares(share, known), **_current(share, known)}
    answer = _ask("passphrase", request if kept else {**request, "new_passphrase": known.new(KEK)})
    if as_json:
        print_json(answer)
    elif answer["kept_in"]:
        print(f"The passphrase is another one now, kept in {answer['kept_in']}.")
    else:
        print(
            "The passphrase is no longer beside the keys. With GRACE_SEALED=true in "
            ".grace/credentials/crypto-signer.env\nthe signer starts sealed, and `grace keys unseal` opens it."
        )


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    share: Shares = None,
    passphrases: Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """Write all keys into one file, which only three shares of the root open."""
    from grace_cli.stack.signer import back_up_log_keys, state_home

    known = _Passphrases(passphrases)
    request = {"file": str(file.absolute()), "shares": _shares(share, known), **_current(share, known)}
    root = _ask("status", {})
    log_keys = back_up_log_keys(state_home(), os.environ, root["root"], root["root_opening_key"])
    answer = _ask("backup", {**request, "log_keys": log_keys})
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['file']}: {answer['epochs']} epochs, {answer['certificates']} certificates, all keys, sealed.")
        print(f"The log's key: {answer['log_key'] or 'NOT in it; there is none here (docs/keys.md)'}")
        print(f"Try it: grace keys drill {file} --share … --share … --share …")


def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    share: Shares = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for the new passphrase instead of keeping one.")] = False,
    log_only: Annotated[bool, typer.Option("--log-only", help="The log's keys alone; the signer's are there.")] = False,
    passphrases: Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """Put the keys of a backup into this Grace's empty state folders; `grace up` then goes on with them."""
    from grace_common.contract.topics import AUDIT_LOG

    from grace_cli.stack.signer import state_home

    known = _Passphrases(passphrases)
    request: dict[str, Any] = {"file": str(file.absolute()), "shares": _shares(share, known)}
    request |= {"log_folder": str(state_home().state(AUDIT_LOG))} | ({"level": "log"} if log_only else {})
    answer = _ask("restore", {**request, "new_passphrase": known.new(KEK)} if ask else request)
    if as_json:
        print_json(answer)
        return
    if not log_only:
        print(f"The keys are back in {answer['folder']}: {answer['epochs']} epochs. `grace up` goes on with them.")
    if answer["log"] == "restored":
        print(f"The log's key is back in {answer['log_folder']}; it goes on only with a ledger")
        print(f"that contains the {answer['log_entries']} entries of when the backup was made.")
    else:
        print(f"The log's key: {_LOG_LEFT[answer['log']]}")


def drill(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    share: Shares = None,
    passphrases: Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """Show that the backup and three shares suffice: restore into an empty folder, sign, verify, forget."""
    known = _Passphrases(passphrases)
    answer = _ask("drill", {"file": str(file.absolute()), "shares": _shares(share, known)})
    if as_json:
        print_json(answer)
    else:
        print(
            f"Restored from {answer['file']} of {answer['taken_at']}: {answer['epochs']} epochs make the same keys, "
            f"{answer['entries_signed_and_verified']} entries signed and verified, two shares refused, "
            f"{answer['seconds']} s."
        )
        print(f"The log's key: {answer['log_key'] or 'not in this backup'}{', signed' if answer['log_key'] else ''}")


def unseal(share: Shares = None, passphrases: Passphrases = None, as_json: AsJson = False) -> None:
    """Open the keys of a signer that has started sealed: with the passphrase, or with three shares."""
    from grace_cli.stack.signer import ask_running_signer, state_home

    known = _Passphrases(passphrases)
    request = {"shares": _shares(share, known)} if share else {"passphrase": known.of(KEK)}
    answer = ask_running_signer(state_home(), request)
    if as_json:
        print_json(answer)
    else:
        print(f"The signer is unsealed and starts to sign (key-encryption key {answer['kek']}).")


def renew(share: Shares = None, passphrases: Passphrases = None, as_json: AsJson = False) -> None:
    """Give services whose certificates end soon new ones, where the signer cannot because its keys are sealed."""
    from grace_cli.stack.signer import state_home

    known = _Passphrases(passphrases)
    folder = state_home().root / "identity"
    answer = _ask("renew", {"folder": str(folder), "shares": _shares(share, known), **_current(share, known)})
    if as_json:
        print_json(answer)
    else:
        print(f"{len(answer['services'])} services have certificates that last; restart those that got new ones.")


def rotate(
    level: Annotated[str, typer.Argument(help="epoch, notary, attestation, witness, log, kek, ca or root.")],
    share: Shares = None,
    passphrases: Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """Replace the key of one level; the running signer takes it up by itself, and old records stay verifiable."""
    known = _Passphrases(passphrases)
    request = {**_level(level), "shares": _shares(share, known), **_current(share, known)}
    if level == "log":  # which the audit-log makes and keeps; the signer lists it
        from grace_cli.stack.signer import make_log_key, state_home

        request["log_key"] = make_log_key(state_home(), os.environ)
    answer = _ask("rotate", request)
    if as_json:
        print_json(answer)
    elif level == "ca":
        listed = f", in version {answer['directory']} of the key directory" if answer["directory"] else ""
        print(f"The CA is {answer['key_id']} now{listed}; {answer['certificates']} certificates of the one before are")
        print("its own, of the same keys. The one before counts until it is ended: grace keys retire ca")
    elif level == "epoch":
        print(f"Epoch {answer['number']} begins at {answer['not_before']}.")
    elif level == "kek":
        print(f"The key-encryption key is {answer['kek']} now; {answer['epochs']} seeds and all keys are sealed anew.")
    elif level == "root":
        print(
            f"The root is {answer['root']} now; both roots signed version {answer['directory']} of the key directory."
        )
        print("The signer keeps it until you hand out its shares (grace keys split); then make a backup.")
    elif level == "log":
        print(f"The log's next key is {answer['log_key']}, in version {answer['directory']} of the key directory.")
        print(
            "It signs beside the one before as soon as the ledger has that version. Give it to whoever verifies; then"
        )
        print("end the one before: grace keys retire log")
    else:
        print(f"The {level} key is {answer['key_id']} now, in version {answer['directory']} of the key directory.")


def retire(
    level: Annotated[str, typer.Argument(help="log or ca: the one that goes on beside the one that follows it.")],
    share: Shares = None,
    passphrases: Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """End the log's older key, or the CA that was replaced; what they signed verifies for ever."""
    known = _Passphrases(passphrases)
    answer = _ask("retire", {**_level(level), "shares": _shares(share, known), **_current(share, known)})
    if as_json:
        print_json(answer)
    elif level == "log":
        print(f"Version {answer['directory']} of the key directory says that {', '.join(answer['ended'])} has ended.")
        print(f"Once the ledger has that version, checkpoints are signed with {answer['log_key']} alone.")
    else:
        ended = [one["key_id"] for one in answer["authorities"] if one["state"] == "ended"]
        print(f"Ended: {', '.join(ended)}. What they certified counts no more; make a backup: grace keys backup FILE")


def directory(share: Shares = None, passphrases: Passphrases = None, as_json: AsJson = False) -> None:
    """Show the newest public key directory, once the next version is signed where one is due."""
    known = _Passphrases(passphrases)
    answer = _ask("directory", {"shares": _shares(share, known), **_current(share, known)})
    if as_json:
        print_json(answer)
        return
    from grace_cli.tables import print_table

    print(f"version {answer['version']}, signed by the root {answer['root']}, until {answer['expires']}")
    print_table(
        ("key id", "purpose", "name", "from", "until"),
        ((k["key_id"], k["purpose"], k["name"], k["not_before"], k["not_after"]) for k in answer["keys"]),
        nothing="it lists no key",
    )


def status(as_json: AsJson = False) -> None:
    """Show which keys this Grace has, how old they are, who holds shares of the root."""
    answer = _ask("status", {})
    if as_json:
        print_json(answer)
        return
    held = "still kept by the signer" if answer["root_kept_by_the_signer"] else "exists as shares alone"
    print(f"root         {answer['root']}, {held}; shares: {', '.join(answer['holders']) or 'handed out to nobody'}")
    print(f"             its public key, for --root-key: {answer['root_key']}")
    where = "kept beside it" if answer["passphrase_kept_by_the_signer"] else "kept by people"
    print(f"kek          its passphrase is {where}")
    for level, key in answer["keys"].items():
        by = key["command"] or "the running signer replaces it by itself"
        due = f"; due by {key['due']}: {by}" if key["due"] else ""
        print(f"{level:12} made {key['made_at']}, {key['age_days']} days ago; used {key['uses']} times{due}")
    for key in answer["log"]:
        lasted = f"until {key['not_after']}" if key["not_after"] else "in use"
        print(f"log          {key['log_key']}, from {key['not_before']}, {lasted}")
    if due := answer["log_due"]:
        print(f"             {due['other']} {_LOG_DUE[due['verb']]}")
    for one in answer["authorities"]:
        print(f"CA           {one['key_id']} {_CA_STATES[one['state']]}")


def _level(level: str) -> dict[str, Any]:
    """Return what a request says of a level; the services' folders with it where they change."""
    from grace_cli.stack.signer import state_home

    return {"level": level, **({"folder": str(state_home().root / "identity")} if level == "ca" else {})}


class _Passphrases:
    """Passphrases by name, out of a file or asked for."""

    def __init__(self, file: Path | None) -> None:
        from grace_cli.stack.signer import read_private

        self._known: dict[str, str] = {}
        if file is not None:
            try:
                self._known = {str(name): str(value) for name, value in json.loads(read_private(file)).items()}
            except (ValueError, AttributeError) as error:
                raise CliError(
                    f"{file} is no JSON object of passphrases", 'expected {"ada": "…"}', Exit.USAGE
                ) from error
        self._file = file

    def new(self, name: str) -> str:
        """Return a passphrase that is set now: typed twice where it is asked for."""
        return self._known_or(name) or str(
            typer.prompt(f"New passphrase of {name}", hide_input=True, confirmation_prompt=True)
        )

    def of(self, name: str) -> str:
        """Return a passphrase that was set once."""
        return self._known_or(name) or str(typer.prompt(f"Passphrase of {name}", hide_input=True))

    def _known_or(self, name: str) -> str:
        if self._file is None:
            return ""
        if not self._known.get(name):
            raise CliError(f"{self._file} has no passphrase of {name}", "add it, or leave the file out", Exit.USAGE)
        return self._known[name]


def _shares(files: list[Path] | None, known: _Passphrases) -> list[dict[str, str]]:
    """Return share files as a request has them, each with its holder's passphrase."""
    shares = []
    for file in files or ():
        try:
            content = file.read_text()
            holder = str(json.loads(content)["holder"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CliError(
                f"{file} is no share of a root: {type(error).__name__}", "name the files of `keys split`", Exit.USAGE
            ) from error
        shares.append({"name": file.name, "content": content, "passphrase": known.of(holder)})
    return shares


def _current(shares: list[Path] | None, known: _Passphrases) -> dict[str, str]:
    """Return the key-encryption key's passphrase, as a request has it, where the signer keeps none itself."""
    from grace_common.contract.topics import CRYPTO_SIGNER

    from grace_cli.stack.signer import state_home

    if shares or (state_home().state(CRYPTO_SIGNER) / "kek-passphrase").exists():
        return {}
    return {"passphrase": known.of(KEK)}


def _ask(verb: str, request: dict[str, Any]) -> dict[str, Any]:
    from grace_cli.stack.signer import ask_signer, state_home

    return ask_signer(state_home(), os.environ, verb, request)
