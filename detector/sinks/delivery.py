"""From the outbox to whoever wants to know, each at its own pace.

A sink is one class with `Sink.send` and `Sink.close`; `detector.sinks.kinds` knows them by name. A `Delivery` is the
thread that feeds one: it reads the outbox from its cursor on, renders, sends, and only then moves the cursor. So
nothing is lost, and after a crash what was sent last may come again, the same bytes.
"""

import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import orjson

from detector.errors import StorageFailed
from detector.sinks.cursors import Cursor, cursors
from detector.sinks.lines import Lines
from detector.sinks.messages import Message, Render, as_stored
from detector.sinks.outbox import Outbox
from detector.sinks.segments import Record
from detector.state.stores import make_folder, storage

BATCH: Final = 500  # records in one call of `send`; of 1 kB each, half of what SIEMs take at once
BATCH_BYTES: Final = 8 << 20  # of their payloads, a record at least
FIRST_SECONDS: Final = 0.5  # longest pause after the first failure; it doubles with each further one
MOST_SECONDS: Final = 60.0  # longest pause of our own
MOST_AFTER_SECONDS: Final = 3600.0  # that the other side may ask for
GRACE_SECONDS: Final = 1.0  # for a call of `send` that is about to return when time is over
WATCH_SECONDS: Final = 5.0  # between two looks at what was sent last, see `Watchful`
REFUSED_BYTES: Final = 32 << 20  # of refused records in a file; one older file is kept beside it


class Retry(Exception):
    """The other side does not take more now; the same records are sent again later.

    Args:
        reason: for people.
        after: seconds that the other side asks to wait (``Retry-After``, RFC 9110 section 10.2.3).
        taken: how many records, from the first on, it has for certain.
    """

    def __init__(self, reason: str, after: float | None = None, taken: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.after, self.taken = reason, after, taken


class Refused(Exception):
    """The other side will never take one record. It has those before it; those behind it are sent again.

    Args:
        index: of the record, in what was sent.
        reason: for people.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index, self.reason = index, reason


class Sink(Protocol):
    """The other side. One thread calls it. Every call ends within a bounded time; `Delivery` does the waiting between
    tries."""

    def send(self, records: Sequence[Message]) -> None:
        """Hand over records in their order; returns when the other side has all of them.

        A payload is one record in the sink's format, without a line feed. The first records may be some that the other
        side has already: after a crash, and after `Retry`.

        Raises:
            Retry: not now.
            Refused: one of them never.
        """

    def close(self) -> None:
        """Leave the other side."""


@runtime_checkable
class Watchful(Protocol):
    """A sink whose other side acknowledges nothing, but can be seen to leave."""

    def watch(self) -> None:
        """Look, while there is nothing to send, whether what was sent last may be lost; send it again then.

        Raises:
            Retry: it may be, and could not be sent.
        """


@dataclass(frozen=True, slots=True)
class Progress:
    """How a sink does since the start; times in seconds since the epoch."""

    waiting: int  # records in the outbox that it has not taken
    delivered: int
    retries: int  # tries that failed
    refused: int  # records set aside
    last_success: float | None
    failing_since: float | None  # None when the last try succeeded
    problem: str  # of the last try that failed


class Delivery:
    """The thread that feeds one sink.

    Args:
        name: of the sink; that of its cursor too.
        sink: where records go.
        outbox: where they come from. It stays open until `stop` has returned.
        on_problem: told the name and the reason, in this thread, whenever a try fails or a record is refused.
        render: how a record of the outbox becomes what is sent. One that it cannot render is refused.
        batch: most records to send at once.
        batch_bytes: most bytes of payloads to send at once, a record at least.
        now: seconds since the epoch, to be shown.
        spread: a random number from 0 to 1, so that several do not come again all at the same time.

    Raises:
        StorageFailed: the cursor cannot be used.
    """

    def __init__(  # noqa: PLR0913 - who starts one names what is not usual
        self,
        name: str,
        sink: Sink,
        outbox: Outbox,
        on_problem: Callable[[str, str], None],
        *,
        render: Render = as_stored,
        batch: int = BATCH,
        batch_bytes: int = BATCH_BYTES,
        now: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._sink, self._outbox, self._on_problem = sink, outbox, on_problem
        self._render, self._batch, self._batch_bytes = render, batch, batch_bytes
        self._now, self._spread = now, spread
        self._cursor = Cursor(outbox.folder, name, outbox.first)
        self._sent = self._cursor.done  # ahead of the cursor while that cannot be written
        self._aside = Aside(outbox.folder / "refused" / f"{name}.ndjson")
        self._delivered = self._retries = self._refused = self._failures = 0
        self._last_success: float | None = None
        self._failing_since: float | None = None
        self._problem = ""
        self._turn = threading.Condition()
        self._deadline: float | None = None  # monotonic; set when it is to end
        self._noting = threading.Lock()
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)
        if self._cursor.damaged:
            self._tell("how far it got is damaged; all that the outbox has is sent again")

    # --- for the loop ---

    @property
    def progress(self) -> Progress:
        """How it does."""
        return Progress(
            waiting=max(self._outbox.durable - self._cursor.done, 0),
            delivered=self._delivered,
            retries=self._retries,
            refused=self._refused,
            last_success=self._last_success,
            failing_since=self._failing_since,
            problem=self._problem,
        )

    def start(self) -> None:
        """Begin, with what waits already."""
        self._thread.start()

    def wake(self) -> None:
        """There is more in the outbox (after `Outbox.sync`)."""
        with self._turn:
            self._turn.notify_all()

    def finish(self, seconds: float) -> None:
        """End when all that is stored is delivered, or after so many seconds; returns at once. A pause between two
        tries is cut short."""
        with self._turn:
            self._deadline = time.monotonic() + seconds
            self._turn.notify_all()

    def stop(self, seconds: float) -> bool:
        """`finish`, and wait for it; True when all is delivered. A sink that does not come back within `GRACE_SECONDS`
        more is left behind: what it took meanwhile is sent again by the next process."""
        self.finish(seconds)
        return self.join()

    def join(self) -> bool:
        """The waiting of `stop`."""
        deadline = self._deadline or time.monotonic()
        if self._thread.ident is None:
            self._close()
        else:
            self._thread.join(max(deadline - time.monotonic(), 0) + GRACE_SECONDS)
        with self._noting:
            self._abandoned = self._thread.is_alive()
        return self._cursor.done >= self._outbox.durable

    # --- one try ---

    def step(self) -> float | None:
        """One try. Returns seconds until the next: 0 when there may be more, None when all is delivered."""
        try:
            return self._deliver()
        except Retry as problem:
            return self._pause(problem.reason, problem.after)
        except StorageFailed as problem:
            return self._pause(str(problem))
        except Exception as problem:  # noqa: BLE001 - a sink's mistake must not end its thread unheard
            return self._pause(f"{type(problem).__name__}: {problem}")

    def _deliver(self) -> float | None:
        durable = self._outbox.durable
        self._note()
        records = self._outbox.read(self._sent, self._batch)
        if not records:  # what is not there any more is not waited for
            self._sent = max(self._sent, durable)
            self._note()
            if isinstance(self._sink, Watchful):
                self._sink.watch()
                self._well()
            return None
        try:
            records = records[: self._send(records)]
        except Retry as problem:
            self._took(records[: problem.taken])
            raise
        except Refused as problem:
            self._took(records[: problem.index])
            self._set_aside(records[problem.index], problem.reason)
        else:
            self._took(records)
        return 0.0

    def _send(self, records: Sequence[Record]) -> int:
        """Render and send the first of them, as many as are sent at once; how many that are.

        Raises:
            Retry: see `Sink.send`.
            Refused: the same, or the first cannot be rendered.
        """
        messages: list[Message] = []
        size = 0
        for record in records:
            try:
                messages.append(self._render(record))
            except Exception as problem:
                if messages:
                    break  # those before it go first
                raise Refused(0, f"cannot be rendered: {type(problem).__name__}: {problem}") from problem
            size += len(messages[-1].payload)
            if len(messages) > 1 and size > self._batch_bytes:
                del messages[-1]
                break
        self._sink.send(messages)
        return len(messages)

    def _took(self, records: Sequence[Record]) -> None:
        if records:
            self._sent = records[-1].sequence + 1
            self._delivered += len(records)
            self._last_success = self._now()
            self._well()
            self._note()

    def _set_aside(self, record: Record, reason: str) -> None:
        self._aside.add(record, reason)
        self._sent = record.sequence + 1
        self._refused += 1
        self._well()
        self._tell(f"refused record {record.sequence}: {reason}")
        self._note()

    def _well(self) -> None:
        self._failures, self._failing_since = 0, None

    def _note(self) -> None:
        """Move the cursor, unless a successor may have it by now."""
        with self._noting:
            if not self._abandoned:
                self._cursor.advance(self._sent)

    def _pause(self, reason: str, after: float | None = None) -> float:
        """Exponential backoff with full jitter (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter)."""
        self._retries += 1
        self._failing_since = self._failing_since or self._now()
        self._problem = reason
        self._tell(reason)
        most = min(FIRST_SECONDS * 2.0 ** min(self._failures, 16), MOST_SECONDS)
        self._failures += 1
        return max(self._spread() * most, min(after or 0.0, MOST_AFTER_SECONDS))

    def _tell(self, reason: str) -> None:
        with suppress(Exception):
            self._on_problem(self.name, reason)

    # --- the thread ---

    def _run(self) -> None:
        while not self._over():
            pause = self.step()
            with self._turn:
                if pause is None:
                    if self._deadline is not None and not self._waiting():
                        break
                    look = WATCH_SECONDS if isinstance(self._sink, Watchful) else None
                    self._turn.wait_for(lambda: self._deadline is not None or self._waiting(), look)
                elif pause > 0:
                    self._sleep(pause)
        self._close()

    def _waiting(self) -> bool:
        return self._outbox.durable > self._sent

    def _over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _sleep(self, seconds: float) -> None:
        """Until the time is over, or the deadline is another."""
        deadline = self._deadline
        left = seconds if deadline is None else min(seconds, max(deadline - time.monotonic(), 0))
        self._turn.wait_for(lambda: self._deadline != deadline, left)

    def _close(self) -> None:
        self._aside.close()
        try:
            self._sink.close()
        except Exception as problem:  # noqa: BLE001 - as in `step`
            self._tell(f"cannot be closed: {type(problem).__name__}: {problem}")


class Aside:
    """Records that a sink refused, for people: JSON lines with number, kind, reason and the record as text.

    When there are `REFUSED_BYTES`, the file is renamed to ``.1``, in place of an older one.
    """

    def __init__(self, path: Path, limit_bytes: int = REFUSED_BYTES) -> None:
        self._path, self._limit = path, limit_bytes
        self._lines = Lines(path)

    def add(self, record: Record, reason: str) -> None:
        """Durable when it returns.

        Raises:
            StorageFailed: it is not.
        """
        line = orjson.dumps(
            {
                "sequence": record.sequence,
                "kind": record.kind,
                "reason": reason,
                "record": record.payload.decode("utf-8", "replace"),
            }
        )
        with storage(f"cannot use {self._path}"):
            make_folder(self._path.parent)
            if self._path.exists() and self._path.stat().st_size >= self._limit:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._lines.append([line])

    def close(self) -> None:
        """No more comes."""
        self._lines.close()


def stop_all(deliveries: Collection[Delivery], seconds: float) -> dict[str, bool]:
    """`Delivery.stop` of all at the same time: whether all is delivered, by name."""
    for delivery in deliveries:
        delivery.finish(seconds)
    return {delivery.name: delivery.join() for delivery in deliveries}


def retire(outbox: Outbox, names: Collection[str]) -> dict[str, int]:
    """Forget the cursors of all sinks but these, or the outbox would keep everything for those that are no more.

    Returns:
        How many records each had not taken, by name.

    Raises:
        StorageFailed: some are left.
    """
    gone = {name: done for name, done in cursors(outbox.folder).items() if name not in names}
    for name in gone:
        Cursor(outbox.folder, name).remove()
    return {name: max(outbox.durable - done, 0) for name, done in gone.items()}
