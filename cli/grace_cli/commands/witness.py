"""`grace witness`: cosigning the checkpoints of logs, and asking others to."""

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grace_cli.commands.ledger import LogKeyOption
from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, print_json

if TYPE_CHECKING:
    from grace_common.transparency.note import VerifierKey

    from grace_cli.witness.server import Answer


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Witness logs: cosign only what continues what was seen.")
    group.command()(key)
    group.command()(serve)
    group.command()(add)
    app.add_typer(group, name="witness")


def key(
    file: Annotated[Path, typer.Argument(help="Where to write it; mode 0600.")],
    name: Annotated[str, typer.Option(help="The witness's name, such as witness.example.org/w1.")],
    as_json: AsJson = False,
) -> None:
    """Make a witness's key, and print its public half."""
    from grace_common.contract.errors import Refused

    from grace_cli.witness import key_file

    try:
        made = key_file.make(file, name)
    except (Refused, OSError) as error:
        raise CliError(f"no key was made: {error}", "name another file or another name", Exit.USAGE) from error
    if as_json:
        print_json({"file": str(file), "vkey": str(made)})
    else:
        print(made)


def serve(
    key: Annotated[Path, typer.Option(help="The file that `grace witness key` made.")],
    state: Annotated[
        Path, typer.Option(help="Where it remembers what it cosigned. Never lose it, never copy it back.")
    ],
    log: Annotated[list[str], typer.Option(metavar="VKEY|FILE", help="The key of a log it watches; repeatable.")],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen at; others than loopback need TLS in front.")] = (
        "127.0.0.1"
    ),
    as_json: AsJson = False,
) -> None:
    """Serve C2SP tlog-witness until interrupted."""
    import time

    from grace_common.contract.errors import Refused

    from grace_cli.witness import key_file
    from grace_cli.witness.memory import WitnessFile
    from grace_cli.witness.server import Witness, listen

    logs = [read_vkey(one, "--log") for one in log]
    try:
        own, sign = key_file.load(key)
        memory = WitnessFile(state)
        server = listen(host, port, Witness(own, sign, logs, memory, time.time), _Teller(as_json))
    except (Refused, OSError) as error:
        raise CliError(f"the witness cannot start: {error}", "see `grace witness serve --help`", Exit.USAGE) from error
    address = f"http://{host}:{server.server_address[1]}"
    known = {origin: memory.seen(origin).size for origin in memory.origins}
    if as_json:
        print_json({"url": address, "vkey": str(own), "logs": [one.name for one in logs], "cosigned": known})
    else:
        print(f"{own} witnesses {', '.join(sorted({one.name for one in logs}))} at {address}")
        seen = ", ".join(f"{origin} at {size}" for origin, size in known.items())
        print(f"{state} remembers {seen}" if known else f"{state} is new: nothing was cosigned yet", flush=True)
    try:
        server.serve_forever()
    finally:
        server.server_close()
        memory.close()


def add(
    where: Annotated[str, typer.Argument(metavar="DIR|URL", help="The log: a folder, or an address of /log.")],
    witness: Annotated[list[str], typer.Option(metavar="URL", help="A witness's submission prefix; repeatable.")],
    witness_key: Annotated[
        list[str], typer.Option(metavar="VKEY|FILE", help="The key of a witness, from a place you trust; repeatable.")
    ],
    log_key: LogKeyOption = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where to; standard output without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have witnesses cosign the newest checkpoint of a log; its consistency proof is made from its tiles."""
    from grace_common.contract.errors import Refused, Unready
    from grace_common.transparency.note import Note, cosignature_time_s

    from grace_cli.log_files import FolderLog, WebLog, read_log_key, signed_checkpoint
    from grace_cli.witness.asking import cosignatures

    keys = [read_vkey(one, "--witness-key") for one in witness_key]
    reader = WebLog(where) if where.startswith(("http://", "https://")) else FolderLog(Path(where))
    log = read_log_key(log_key, reader, where)
    try:
        signed, checkpoint = signed_checkpoint(reader, log)
        lines = [line for url in witness for line in cosignatures(url, reader, signed, keys)]
    except (Refused, Unready) as error:
        raise CliError(f"the checkpoint of {where} was not cosigned: {error}", "see `grace ledger verify`") from error
    note = Note.parse(signed)
    for line in dict.fromkeys(lines):
        note = note.with_signature(line)
    if out is not None:
        try:
            out.write_bytes(note.encode())
        except OSError as error:
            raise CliError(f"{out} cannot be written: {error.strerror}", "name another file") from error
    by = [{"witness": line.name, "time_s": cosignature_time_s(line)} for line in lines]
    if as_json:
        print_json(
            {"origin": checkpoint.origin, "entries": checkpoint.size, "cosigned": by, "note": note.encode().decode()}
        )
    elif out is None:
        sys.stdout.write(note.encode().decode())
    else:
        print(f"{out}: {checkpoint.origin} at {checkpoint.size}, cosigned by {', '.join(line.name for line in lines)}")


def read_vkey(given: str, option: str) -> "VerifierKey":
    """Return the key of a vkey, or of a file that holds one; raises CliError."""
    from grace_common.contract.errors import Refused
    from grace_common.transparency.note import VerifierKey

    try:
        text = given if "+" in given and not Path(given).exists() else Path(given).read_text()
        return VerifierKey.parse(text.strip())
    except (Refused, UnicodeDecodeError, OSError) as error:
        advice = f"pass {option} FILE, or the vkey itself: name+keyid+base64"
        raise CliError(f"{option} names no key: {error}", advice, Exit.USAGE) from error


class _Teller:
    """Prints what was answered, a line each; requests come in many threads."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._one_line_at_a_time = threading.Lock()

    def __call__(self, answer: "Answer") -> None:
        with self._one_line_at_a_time:
            if self._as_json:
                print_json({"status": answer.status, "told": answer.told})
            else:
                print(f"{answer.status} {answer.told}", flush=True)
