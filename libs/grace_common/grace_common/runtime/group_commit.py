"""Many concurrent callers, one transaction: the cost of a commit is shared by all that wait for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from grace_common.runtime.database import Database, in_transaction

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Hands items in groups to `work`, inside one transaction per group, in the order of submission.

    work  gets the connection and the group, returns one result per item; when a group fails, each of its items is
          tried alone, so that one bad item costs the others nothing but time. It belongs to no operation: the
          statements of a shared transaction are nobody's alone
    autocommit  each statement of `work` is its own transaction: for work that is one statement, at a quarter of the
                round trips. A group whose later statement fails is tried again all the same
    """

    def __init__(
        self,
        database: Database,
        work: Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        largest: int = 128,
        autocommit: bool = False,
    ) -> None:
        self._work = work
        self._largest = largest
        self._opened = database.reading if autocommit else database.transaction
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Return the item's result after its group has committed; raise what its own transaction raised.

        raises  RuntimeError inside an open transaction, which the group's could not join
        """
        if in_transaction():
            raise RuntimeError("a group commits by itself: submit outside any transaction")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None or self._running.done():
            # In a context of its own: what the first caller happens to be doing is no business of its group.
            self._running = asyncio.create_task(self._drain(), context=Context())
        # A caller that goes away must not cancel the transaction of its group.
        return await asyncio.shield(future)

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            try:
                results = await self._commit([item for item, _ in group])
            except Exception as error:  # noqa: BLE001  (whatever it is, it belongs to the caller)
                if len(group) == 1:
                    group[0][1].set_exception(error)
                else:
                    await self._one_by_one(group)
                continue
            for (_, future), result in zip(group, results, strict=True):
                future.set_result(result)

    async def _one_by_one(self, group: Sequence[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        for item, future in group:
            try:
                [result] = await self._commit([item])
            except Exception as error:  # noqa: BLE001  (likewise)
                future.set_exception(error)
            else:
                future.set_result(result)

    async def _commit(self, items: Sequence[Item]) -> Sequence[Result]:
        async with self._opened() as connection:
            results = await self._work(connection, items)
            if len(results) != len(items):
                raise RuntimeError(f"the work returned {len(results)} results for {len(items)} items")
            return results
