"""An event loop whose clock stands still while anybody works, and jumps when everybody waits: no test sleeps."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """Lets the time pass that others would wait."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and nothing will ever come"
        self.now_s += timeout
        return super().select(0)


class TimelessLoop(asyncio.SelectorEventLoop):
    """Does the work of threads at once, so that nothing happens beside what is waited for."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (whatever it is, whoever waits gets it)
            done.set_exception(error)
        return done


def timeless(work: Coroutine[Any, Any, T]) -> T:
    """Carry out what takes minutes, in milliseconds and every time alike."""
    with asyncio.Runner(loop_factory=TimelessLoop) as runner:
        return runner.run(work)
