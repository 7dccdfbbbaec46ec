"""A service on topics of a real broker that are filled as a test goes on, and what it must tell of them."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from detector.simulate import SimulatedPlant
from detector.sources.kafka_merge import TICK_MS
from tests.faults.harness import Trial, broken, duplicates
from tests.faults.process import Service, create, named_for, publish
from tests.faults.stream import Row
from tests.kafka.fixtures import Broker


class Fed(Service):
    """A service, the rows of its topics, and a way to send them."""

    def __init__(self, kafka: Broker, rows: list[Row], world: SimulatedPlant, folder: Path, /, **changes) -> None:
        topics = sorted({row.partition.topic for row in rows})
        super().__init__(folder / "service", kafka.bootstrap, topics, world.plant, **changes)
        self.kafka, self.rows, self.sent = kafka, rows, 0

    def publish_until(self, share: float) -> None:
        """Send what is missing of a share of the rows, and what belongs into the same step of the merge. The service
        stands still meanwhile: topics are not written all at once, and the rows' times are not the broker's."""
        end = round(share * len(self.rows))
        while 0 < end < len(self.rows) and self.rows[end].time // TICK_MS == self.rows[end - 1].time // TICK_MS:
            end += 1
        with self.standing():
            publish(self.kafka, self.rows[self.sent : end])
        self.sent = max(self.sent, end)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Stop the process, if there is one, and let it go on."""
        lives = self.process is not None and self.process.poll() is None
        if lives:
            self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if lives:
                self.process.send_signal(signal.SIGCONT)

    def through(self) -> bool:
        """Whether all that was sent is."""
        return self.done(self.sent)()

    def finish(self) -> float:
        """Send the rest, wait until all is through, and end; seconds that took without the end."""
        self.publish_until(1)
        seconds = self.wait(self.through)
        assert self.stop()[0] == 0
        return round(seconds, 1)


def on(kafka: Broker, rows: Sequence[Row], world: SimulatedPlant, folder: Path, /, share: float = 1, **changes) -> Fed:
    """A service on topics that hold a share of the rows."""
    mine = named_for(rows, kafka.prefix)
    create(kafka, mine)
    made = Fed(kafka, mine, world, folder, **changes)
    made.publish_until(share)
    return made


class Expected:
    """What a run in this process tells of the same rows."""

    def __init__(self, rows: Sequence[Row], world: SimulatedPlant, folder: Path) -> None:
        trial = Trial(folder / "golden", rows, world.plant)
        assert not trial.run()
        self.outcome = trial.outcome()

    def check(
        self, service: Service, results: Callable[..., None], fault: str, kills: int = 0, heal: float | None = None
    ) -> None:
        """Compare, and note the result for the table."""
        outcome = service.outcome()
        problems = broken(self.outcome, outcome)
        results(fault=fault, kills=kills, mismatches=len(problems), duplicates=duplicates(outcome), heal=heal)
        assert problems == []
