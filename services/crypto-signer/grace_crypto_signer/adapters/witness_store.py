"""What the witness cosigned, in PostgreSQL."""

from grace_common.contract.errors import Unready
from grace_common.runtime.database import Database
from grace_common.transparency.note import Note, VerifierKey
from grace_common.transparency.witness import Seen, SignedTree
from sqlalchemy import text

from grace_crypto_signer.ports import Witnessed


class PostgresWitnessMemory:
    """Implements `WitnessMemory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, origin: str) -> Witnessed | None:
        query = text("SELECT log_key, size, root FROM witnessed WHERE origin = :origin")
        async with self._database.reading() as connection:
            row = (await connection.execute(query, {"origin": origin})).first()
        return None if row is None else Witnessed(VerifierKey.parse(row.log_key), Seen(row.size, row.root))

    async def keep(self, before: Witnessed, tree: SignedTree, cosigned: Note) -> None:
        # One statement decides and writes, so two signers at once cannot both go on from one tree.
        statement = text(
            "INSERT INTO witnessed (origin, log_key, size, root, note) VALUES (:origin, :log_key, :size, :root, :note) "
            "ON CONFLICT (origin) DO UPDATE SET log_key = :log_key, size = :size, root = :root, note = :note, "
            "cosigned_at = now() WHERE witnessed.size = :old_size AND witnessed.root = :old_root"
        )
        values = {
            "origin": tree.checkpoint.origin,
            "log_key": str(before.log_key),
            "size": tree.checkpoint.size,
            "root": tree.checkpoint.root,
            "note": cosigned.encode(),
            "old_size": before.tree.size,
            "old_root": before.tree.root,
        }
        async with self._database.transaction() as connection:
            done = await connection.execute(statement, values)
        if done.rowcount != 1:
            raise Unready(f"another witness of this database went on from the {before.tree.size} leaves first")
