"""How far the signer's keys are used, which of them the running signer replaces by itself, and how: as commands do."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.identity import Authorities

from grace_crypto_signer import ca_change, commands, key_change
from grace_crypto_signer.adapters import directory_files, identity_files, key_files, key_uses, root_files
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey, LiveKek
from grace_crypto_signer.adapters.state_lock import changing
from grace_crypto_signer.domain.certificate import lasts, stated
from grace_crypto_signer.domain.keyring import Level, Use
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings

_IN_FILES: Final[Sequence[Level]] = ("notary", "attestation", "witness", "kek", "ca")
_PATIENCE_S: Final = 5.0  # for certificates to reach the bus; the next look goes on
_ME: Final = "the running signer"


def used(settings: Settings) -> dict[Level, Use]:
    """Return how far the key of each level is used, as the files say; no key is opened. Raises Refused."""
    folder = settings.state_dir
    counted, public = key_uses.read(folder), root_files.read_public(folder)
    found: dict[Level, Use] = {}
    for level in _IN_FILES:
        id_, since = key_files.described(folder, level)
        found[level] = Use(since, counted.get(id_, 0))
    found["root"] = Use(public.made_at, directory_files.signed_by(folder, public.public_key))
    return found


def command(settings: Settings, level: Level) -> str | None:
    """Return by which command people replace the key of a level; None where the running signer does it by itself."""
    root_kept = root_files.sealed_file(settings.state_dir).exists()
    match level:
        case "kek":
            return None if _opens_alone(settings) else "grace keys rotate kek"
        case "ca" if settings.identities_dir is None:
            return "grace keys rotate ca, with the stop that docs/keys.md tells (`Another CA`)"
        case _:
            return None if root_kept else f"grace keys rotate {level} --share …"


class FileRotation:
    """Implements `Rotation`.

    kek    as the running signer holds it
    issue  gives a service, by its name, another key and certificate in its folder; raises Unready, Refused
    """

    def __init__(self, settings: Settings, kek: LiveKek, issue: Callable[[str, Path], Awaitable[None]]) -> None:
        self._settings = settings
        self._kek = kek
        self._issue = issue
        self._told: Authorities | None = None  # which CAs there are, as all of what rests on them is known to say

    def used(self) -> Mapping[Level, Use]:
        return used(self._settings)

    def command(self, level: Level) -> str | None:
        return command(self._settings, level)

    async def replace(self, level: Level, now: datetime) -> str:
        settings, kek = self._settings, self._kek.newest()
        with changing(settings.state_dir, f"{_ME}, which replaces the {level}"):
            match level:
                case "kek":
                    return (await key_change.rotate_kek(settings, kek, None))[0].id
                case "root":
                    return key_change.rotate_root(settings, kek, lambda: self._root(kek))[0].id
                case "ca":
                    await ca_change.rotate(settings, kek, self._root(kek), self._request)
                    self._told = key_files.authorities(settings.state_dir)
                    return key_files.ca_id(settings.state_dir)
                case other:
                    raise Refused(f"the key of level {other} is not replaced here")

    async def finish(self, now: datetime) -> Sequence[str]:
        done = [
            await self._finish_kek(),
            await self._finish_root(),
            await self._finish_ca(),
            await self._end_ca(now),
            await self._certify_services(now),
        ]
        return [what for what in done if what is not None]

    async def _finish_kek(self) -> str | None:
        folder = self._settings.state_dir
        if not key_files.kek_is_changing(folder) or command(self._settings, "kek") is not None:
            return None
        with changing(folder, f"{_ME}, which finishes another's change of the kek"):
            kek = self._kek.newest()
            if not kek.older:
                return None  # whoever began it has finished it meanwhile
            await key_change.rotate_kek(self._settings, kek, None)
        return "kek"

    async def _finish_root(self) -> str | None:
        folder = self._settings.state_dir
        if not root_files.next_file(folder).exists():
            return None
        with changing(folder, f"{_ME}, which finishes another's change of the root"):
            kek = self._kek.newest()
            new = root_files.waiting(folder, kek)
            if new is None or not (directory_files.succeeded(folder, new) or root_files.load(folder, kek)):
                return None  # the one before has to sign it, and exists as shares alone
            key_change.rotate_root(self._settings, kek, lambda: self._root(kek))
        return "root"

    async def _finish_ca(self) -> str | None:
        """Go on with a change that was cut short: of every look after the first, only where the CAs are others."""
        settings, known = self._settings, key_files.authorities(self._settings.state_dir)
        if known == self._told:
            return None
        waits = key_files.next_ca_file(settings.state_dir).exists()
        changes = waits or len(known.held) > 1
        if (waits and settings.identities_dir is None) or (changes and not self._root_is_here()):
            return None  # people have begun it, and are needed to go on
        with changing(settings.state_dir, f"{_ME}, which finishes another's change of the ca"):
            if changes:
                kek = self._kek.newest()
                await ca_change.rotate(settings, kek, self._root(kek), self._request)
            else:
                commands.tell_authorities(known, self._request.identities)
            self._told = key_files.authorities(settings.state_dir)
        return "ca" if changes else None

    async def _end_ca(self, now: datetime) -> str | None:
        """End the CA before once the overlap is over."""
        settings, known = self._settings, key_files.authorities(self._settings.state_dir)
        overlap = timedelta(days=settings.ca_overlap_days)
        if (
            len(known.held) == 1
            or key_files.next_ca_file(settings.state_dir).exists()
            or command(settings, "ca") is not None
            or now - key_files.made_at(settings.state_dir, "ca") < overlap
        ):
            return None
        with changing(settings.state_dir, f"{_ME}, which ends the ca before"):
            kek = self._kek.newest()
            await ca_change.retire(settings, kek, self._root(kek), self._request, patience_s=_PATIENCE_S)
            self._told = key_files.authorities(settings.state_dir)
        return "the CA before has ended"

    async def _certify_services(self, now: datetime) -> str | None:
        """Let those services have others whose certificates end soon, or whose keys have sealed enough."""
        settings, identities = self._settings, self._request.identities
        if not _opens_alone(settings):
            return None
        known, counted = key_files.authorities(settings.state_dir), key_uses.read(settings.state_dir)
        policy, due = settings.policy, []
        for service, folder in identities.items():
            certificate = identity_files.certificate(folder, known)
            if certificate is None or not lasts(certificate, now):
                due.append(service)
                continue
            use = Use(certificate.not_valid_before_utc, counted.get(stated(certificate, service).key_id, 0))
            if policy.due("workload", use, now):
                due.append(service)
        for service in due:
            await self._issue(service, identities[service])
        return f"certificates of {', '.join(due)}" if due else None

    @property
    def _request(self) -> KeyRequest:
        folder = self._settings.identities_dir
        return KeyRequest(level="ca", folder=folder, told=folder is None)

    def _root_is_here(self) -> bool:
        return root_files.sealed_file(self._settings.state_dir).exists()

    def _root(self, kek: KeyEncryptionKey) -> Root:
        root = root_files.load(self._settings.state_dir, kek)
        if root is None:
            raise Refused("the root exists as shares alone, and is needed: people have to bring three of them")
        return root


async def issue_apart(service: str, folder: Path) -> None:
    """Give a service another key and certificate, in a process of its own: the key is in nobody's memory afterwards.

    raises  Unready when that process could not
    """
    words = ("-m", "grace_crypto_signer", "issue", service, "--out", str(folder))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise Unready(f"{service} could not be certified: {said.decode(errors='replace').strip()[-500:]}")


def _opens_alone(settings: Settings) -> bool:
    return not settings.sealed and settings.passphrase_file.exists()
