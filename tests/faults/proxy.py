"""A bad line between a service and a broker: it delays, stalls, loses one direction, or is cut."""

import asyncio
import random
import threading
from contextlib import suppress
from typing import Literal, Self

Way = Literal["there", "back"]  # to the broker, and from it
_CHUNK = 1 << 16
_LOOK_SECONDS = 0.02  # between two looks at a line that is silent


class Proxy:
    """Takes connections on a port of 127.0.0.1 and passes their bytes to another; a context.

    Attributes are the weather, and may change at any time: ``delay`` and ``jitter`` in seconds, for each piece of up to
    64 KiB; ``lost`` is the share of pieces that come only when TCP has sent them again, ``again`` seconds later; bytes
    that go a way that is ``silent`` wait, and nobody is told.
    """

    def __init__(self, port: int, target: int, seed: int = 6) -> None:
        self.port, self._target = port, target
        self.delay = self.jitter = self.lost = 0.0
        self.again = 0.3  # Linux waits 200 ms at least (RFC 6298 section 2.4 says 1 s)
        self.silent: frozenset[Way] = frozenset()
        self.cuts = 0
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def calm(self) -> None:
        """Good weather."""
        self.delay = self.jitter = self.lost = 0.0
        self.silent = frozenset()

    def cut(self) -> None:
        """End all connections at once, in the middle of whatever they are at."""
        self.cuts += len(self._writers) // 2
        self._call(self._abort())

    def _call(self, task):
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(10)

    async def _close(self) -> None:
        self._server.close()
        await self._abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(ours)
            with suppress(OSError):
                await asyncio.gather(self._pass(reader, ours, "there"), self._pass(theirs, writer, "back"))
            ours.transport.abort()
            self._writers.discard(ours)
        except OSError:
            pass  # nobody there
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        while data := await reader.read(_CHUNK):
            late = self._chance.random() < self.lost
            await asyncio.sleep(
                max(self.delay + self._chance.uniform(-self.jitter, self.jitter), 0) + late * self.again
            )
            while way in self.silent:
                await asyncio.sleep(_LOOK_SECONDS)
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
