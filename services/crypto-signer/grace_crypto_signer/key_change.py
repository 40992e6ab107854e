"""Replacing the keys on top: the key-encryption key and the root. Whoever calls is alone in changing the state folder.

Each step leaves what opens and verifies; what was cut short goes on when it is begun again.
"""

from collections.abc import Callable
from datetime import timedelta

from grace_common.contract.errors import Refused
from grace_common.runtime import failpoint
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.transparency.directory import KeyDirectory

from grace_crypto_signer.adapters import directory_files, key_files, root_files
from grace_crypto_signer.adapters.epoch_store import PostgresEpochs
from grace_crypto_signer.adapters.root_files import PublicRoot
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.settings import Settings


async def rotate_kek(
    settings: Settings, kek: KeyEncryptionKey, passphrase: bytes | None
) -> tuple[KeyEncryptionKey, int]:
    """Change the key-encryption key: first the key, then every seed, then every file.

    passphrase  of the new one; None: the one in the signer's own file
    returns     the new one, and how many seeds it sealed
    raises      Refused while the root or the CA is being replaced, with whose keys it would cross
    """
    folder = settings.state_dir
    if root_files.next_file(folder).exists():
        raise Refused("the root is being replaced: finish that first with `grace keys rotate root`")
    if key_files.next_ca_file(folder).exists():
        raise Refused("the CA is being replaced: finish that first with `grace keys rotate ca`")
    if not kek.older:
        opens = key_files.read_passphrase(settings.passphrase_file) if passphrase is None else passphrase
        kek = key_files.begin_kek(folder, kek, opens, SystemClock().now().replace(microsecond=0))
        failpoint.reached("kek", "begun")
    database = Database(settings.database_url.get_secret_value(), pool_size=2)
    try:
        seeds = await PostgresEpochs(database, kek).reseal()
    finally:
        await database.close()
    failpoint.reached("kek", "resealed")
    return key_files.finish_kek(folder, kek), seeds


def rotate_root(
    settings: Settings, kek: KeyEncryptionKey, before: Callable[[], Root]
) -> tuple[PublicRoot, KeyDirectory | None]:
    """Make another root, which the one before certifies in the key directory.

    The new one is kept by the signer, as after the first start, until its shares are handed out.

    before   returns the root before, which is not asked for once it has signed the change
    returns  the public half, and the newest version of the key directory
    """
    folder, now = settings.state_dir, SystemClock().now().replace(microsecond=0)
    new = root_files.waiting(folder, kek)
    if new is None or not directory_files.succeeded(folder, new):
        old = before()
        new = root_files.prepare(folder, kek)
        vault = key_files.open_vault(folder, kek, settings.trust_domain)
        log, life = directory_files.log_key(settings.publication_dir), timedelta(days=settings.directory_days)
        directory_files.succeed(folder, vault, old, new, log, now, life)
    public = root_files.public_of(new, now)
    key_files.seal_kek_to(folder, kek, public)
    root_files.succeed(folder, public)
    return public, directory_files.newest(folder)
