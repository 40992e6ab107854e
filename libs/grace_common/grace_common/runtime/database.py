"""The service's own PostgreSQL schema: one engine, one open transaction per piece of work, statements observed."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from grace_common.contract.errors import Refused

StatementObserver = Callable[[str, int, float], None]
"""Called with the SQL text, the row count (0 where unknown) and the duration in seconds."""

_transaction: ContextVar[AsyncConnection | None] = ContextVar("transaction", default=None)
_after_commit: ContextVar[list[Callable[[], None]] | None] = ContextVar("after_commit", default=None)
observer: Final[ContextVar[StatementObserver | None]] = ContextVar("statement_observer", default=None)


def current() -> AsyncConnection:
    """Return the open transaction's connection: what adapters called from a handler use."""
    connection = _transaction.get()
    if connection is None:
        raise RuntimeError("no transaction is open: adapters are called from handlers or inside Database.transaction()")
    return connection


def in_transaction() -> bool:
    return _transaction.get() is not None


def after_commit(callback: Callable[[], None]) -> None:
    """Run `callback` once the open transaction has committed; never when it rolls back."""
    callbacks = _after_commit.get()
    if callbacks is None:
        raise RuntimeError("after_commit needs an open transaction")
    callbacks.append(callback)


def async_url(url: str) -> URL:
    """Return the SQLAlchemy URL for asyncpg; Refused when it is no PostgreSQL URL."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Without the cause: it may quote the password.
        raise Refused("GRACE_DATABASE_URL is no URL: postgresql://role:password@host:port/database") from None
    if parsed.get_backend_name() != "postgresql":
        raise Refused(f"GRACE_DATABASE_URL must begin with postgresql://, found {parsed.get_backend_name()}://")
    return parsed.set(drivername="postgresql+asyncpg")


class Database:
    """One engine on one role's schema."""

    def __init__(self, url: str, *, pool_size: int = 8, connect_timeout_s: float = 10.0) -> None:
        self.url = async_url(url)
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=30,
            # No ping before each use: after a restart of the server one piece of work fails, is told from a bug by
            # `outage`, and is tried again; SQLAlchemy replaces every pooled connection then.
            pool_pre_ping=False,
            pool_recycle=1800,
            hide_parameters=True,  # errors reach the log, and values must not
            connect_args={"timeout": connect_timeout_s, "server_settings": {"application_name": "grace"}},
        )
        event.listen(self.engine.sync_engine, "before_cursor_execute", _before)
        event.listen(self.engine.sync_engine, "after_cursor_execute", _after)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")  # on the same pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction, or join the one that is open; commit when the outermost block ends without an error."""
        outer = _transaction.get()
        if outer is not None:
            yield outer
            return
        callbacks: list[Callable[[], None]] = []
        async with self.engine.connect() as connection:
            opened = _transaction.set(connection)
            collecting = _after_commit.set(callbacks)
            try:
                async with connection.begin():
                    yield connection
            finally:
                _transaction.reset(opened)
                _after_commit.reset(collecting)
        for callback in callbacks:
            callback()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection on which each statement is a transaction of its own (autocommit)."""
        async with self._autocommit.connect() as connection:
            yield connection

    async def close(self) -> None:
        await self.engine.dispose()


def _before(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
    if observer.get() is not None:
        context.grace_started = time.perf_counter()


def _after(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
    observe = observer.get()
    if observe is not None:
        started = getattr(context, "grace_started", None)
        rows = len(parameters) if executemany else max(cursor.rowcount or 0, 0)
        observe(statement, rows, time.perf_counter() - started if started is not None else 0.0)
