"""Dynamic batches: images of several requests predicted together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MAX_BATCH = 32  # images
MAX_WAIT_SECONDS = 0.005  # for further images after the first one of a batch
MAX_WAITING = 512  # images; further ones are turned away


class Overloaded(Exception):
    """More images are waiting than the service takes."""


class Batcher:
    """Collects items for at most `MAX_WAIT_SECONDS` and calls `work` with up to `MAX_BATCH` of them in one thread.

    work: items -> results, in order. An exception of `work` is raised for every item of its batch.
    """

    def __init__(self, work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self.batches = self.items = 0
        self._work = work
        self._queue: asyncio.Queue[tuple[Any, asyncio.Future[Any]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="danlu-predict")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Number of items that no batch has taken yet."""
        return self._queue.qsize()

    def start(self) -> None:
        """Start collecting, in the running event loop."""
        self._task = asyncio.create_task(self._collect())

    async def stop(self) -> None:
        """Finish the items that were accepted, then stop."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def result_of(self, item: Any) -> Any:
        """Put an item into a batch and wait for its result. Raises Overloaded if too many are waiting."""
        if self.waiting >= MAX_WAITING:
            raise Overloaded
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((item, future))
        return await future

    async def _collect(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            until = loop.time() + MAX_WAIT_SECONDS
            while len(batch) < MAX_BATCH:
                with contextlib.suppress(asyncio.QueueEmpty):
                    batch.append(self._queue.get_nowait())
                    continue
                left = until - loop.time()
                if left <= 0:
                    break
                try:
                    batch.append(await asyncio.wait_for(self._queue.get(), left))
                except TimeoutError:
                    break
            await self._answer(batch)

    async def _answer(self, batch: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        loop = asyncio.get_running_loop()
        self.batches, self.items = self.batches + 1, self.items + len(batch)
        try:
            results = await loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():  # its client may have disconnected
                    future.set_result(result)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        finally:
            for _ in batch:
                self._queue.task_done()
