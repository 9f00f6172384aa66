"""The feed: posts what is new, never dies, ends at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from textual.message import Message

from fmnist_tui import monitor
from fmnist_tui.runs import store
from fmnist_tui.runs.metrics import HostSample, SystemRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui import feed as feeds
from fmnist_tui.tui import reading
from fmnist_tui.tui.feed import Feed, LogAdvanced, SystemFeed
from fmnist_tui.tui.messages import FeedProblem, RunAdvanced, RunsListed, RunVanished, SystemSampled
from fmnist_tui.tui.reading import RunList
from tests.tui.synthetic import BOUND_SECONDS, RunMaker, status_of, wait_for

M = TypeVar("M", bound=Message)


class Inbox:
    """Stands for the app: takes messages, and takes note of the thread they come from."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.threads: set[str] = set()

    def post(self, message: Message) -> None:
        self.threads.add(threading.current_thread().name)
        self.messages.append(message)

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self.messages if isinstance(message, kind)]

    def more_than(self, count: int, kind: type[Message]) -> Callable[[], bool]:
        return lambda: len(self.of(kind)) > count

    def wait(self, condition: Callable[[], bool]) -> None:
        assert wait_for(condition), [type(message).__name__ for message in self.messages]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def feed(runs_dir: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    """A running feed, five times as fast."""
    monkeypatch.setattr(feeds, "WATCH_SECONDS", 0.04)
    monkeypatch.setattr(feeds, "LIST_SECONDS", 0.2)
    feed = Feed(RunList(runs_dir), inbox.post)
    feed.start()
    yield feed
    feed.stop()
    assert not feed.is_alive()


class TestFeed:
    def test_the_list_comes_at_once_and_then_when_it_changes(self, feed: Feed, inbox: Inbox, maker: RunMaker) -> None:
        inbox.wait(lambda: len(inbox.of(RunsListed)) == 1)
        assert inbox.of(RunsListed)[0].runs == []
        run = maker.make("quick")
        inbox.wait(lambda: len(inbox.of(RunsListed)) >= 2)
        assert [listed.id for listed in inbox.of(RunsListed)[-1].runs] == [run.id]
        maker.write_status(run, loss=0.125)
        inbox.wait(lambda: status_of(inbox.of(RunsListed)[-1].runs[0]).loss == 0.125)
        assert inbox.threads == {"feed"}

    def test_a_watched_run(self, feed: Feed, inbox: Inbox, maker: RunMaker) -> None:
        run = maker.make("wrn", State.RUNNING, epoch=3)
        maker.write_metrics(run, 3)
        feed.watch([run.id])
        inbox.wait(lambda: len(inbox.of(RunAdvanced)) == 1)
        first = inbox.of(RunAdvanced)[0]
        assert (first.run.id, len(first.records), first.restarted) == (run.id, 6, True)
        maker.write_metrics(run, 1, first=4)
        maker.write_status(run, epoch=4)
        feed.taken(run.id)
        inbox.wait(lambda: sum(len(message.records) for message in inbox.of(RunAdvanced)) == 8)
        feed.taken(run.id)
        inbox.wait(lambda: status_of(inbox.of(RunAdvanced)[-1].run).epoch == 4)
        assert not any(message.restarted for message in inbox.of(RunAdvanced)[1:])

    def test_the_last_part_of_a_long_file_is_marked(
        self, feed: Feed, inbox: Inbox, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "READ_BYTES", 100_000)
        run = maker.make("wrn", State.RUNNING, epoch=3)
        maker.write_metrics(run, 700)
        feed.watch([run.id])
        inbox.wait(lambda: len(inbox.of(RunAdvanced)) == 1)
        while not inbox.of(RunAdvanced)[-1].caught_up:
            more = inbox.more_than(len(inbox.of(RunAdvanced)), RunAdvanced)
            feed.taken(run.id)
            inbox.wait(more)
        assert len(inbox.of(RunAdvanced)) >= 3
        assert sum(len(message.records) for message in inbox.of(RunAdvanced)) == 1400
        maker.write_metrics(run, 1, first=701)
        feed.taken(run.id)
        inbox.wait(lambda: len(inbox.of(RunAdvanced)[-1].records) == 2)
        assert [message.caught_up for message in inbox.of(RunAdvanced)].count(True) == 1

    def test_nothing_more_is_read_before_the_app_has_taken_it(self, feed: Feed, inbox: Inbox, maker: RunMaker) -> None:
        run = maker.make("wrn", State.RUNNING, epoch=3)
        maker.write_metrics(run, 1)
        feed.watch([run.id])
        inbox.wait(lambda: len(inbox.of(RunAdvanced)) == 1)
        maker.write_metrics(run, 5, first=2)
        before = len(inbox.of(RunsListed))
        maker.write_status(run, epoch=6)
        inbox.wait(lambda: len(inbox.of(RunsListed)) > before)  # the feed goes on with everything else
        assert len(inbox.of(RunAdvanced)) == 1
        feed.taken(run.id)
        inbox.wait(lambda: len(inbox.of(RunAdvanced)) >= 2)
        assert len(inbox.of(RunAdvanced)[1].records) == 10, "all that came meanwhile, in one message"

    def test_a_watched_run_that_is_deleted(self, feed: Feed, inbox: Inbox, maker: RunMaker) -> None:
        run = maker.make("quick")
        feed.watch([run.id])
        inbox.wait(lambda: len(inbox.of(RunAdvanced)) == 1)
        feed.taken(run.id)
        store.delete_run(store.load_run(run))
        inbox.wait(lambda: len(inbox.of(RunVanished)) == 1)
        count = len(inbox.of(RunsListed))
        maker.make("quick")
        inbox.wait(lambda: len(inbox.of(RunsListed)) > count)
        assert len(inbox.of(RunVanished)) == 1, "said once"

    def test_a_watched_log(self, feed: Feed, inbox: Inbox, maker: RunMaker) -> None:
        run = maker.make("quick")
        feed.watch([], [run.id])
        inbox.wait(lambda: len(inbox.of(LogAdvanced)) == 1)
        assert inbox.of(LogAdvanced)[0].lines == []
        run.worker_log.write_text("hello\n")
        inbox.wait(lambda: len(inbox.of(LogAdvanced)) == 2)
        assert (inbox.of(LogAdvanced)[1].lines, inbox.of(LogAdvanced)[1].restarted) == (["hello"], False)

    def test_an_exception_is_said_once_and_survived(
        self, feed: Feed, inbox: Inbox, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox.wait(lambda: len(inbox.of(RunsListed)) == 1)
        calls: list[int] = []

        def broken(self: RunList) -> bool:
            calls.append(1)
            raise MemoryError("no more")

        with monkeypatch.context() as patch:
            patch.setattr(RunList, "scan", broken)
            inbox.wait(lambda: len(calls) >= 3)
        assert [message.text for message in inbox.of(FeedProblem)] == [
            "Reading the list of runs went wrong: MemoryError('no more')"
        ]
        maker.make("quick")
        inbox.wait(lambda: len(inbox.of(RunsListed)) >= 2)

    def test_a_problem_of_the_directory_is_said_in_words(
        self, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "runs").write_text("")
        feed = Feed(RunList(tmp_path / "runs"), inbox.post)
        feed.start()
        inbox.wait(lambda: len(inbox.of(FeedProblem)) == 1)
        assert inbox.of(FeedProblem)[0].text.endswith("is a file; name a directory")
        feed.stop()

    def test_it_ends_when_told_and_with_the_apps_loop(self, runs_dir: Path, inbox: Inbox) -> None:
        feed = Feed(RunList(runs_dir), inbox.post)
        feed.start()
        inbox.wait(lambda: bool(inbox.messages))
        feed.stop(timeout=BOUND_SECONDS)
        assert not feed.is_alive()

        def closed(message: Message) -> None:
            raise RuntimeError("Event loop is closed")

        orphan = Feed(RunList(runs_dir), closed)
        orphan.start()
        assert wait_for(lambda: not orphan.is_alive())

    def test_ended_workers_are_reaped(self, feed: Feed, inbox: Inbox, maker: RunMaker, tmp_path: Path) -> None:
        run = maker.make("quick", State.STARTING, epoch=0, pid=None, pid_started=None)
        run.worker_log.write_text("Traceback ...\nImportError: no torch here\n")
        worker = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
        feed.children.add(run, worker)
        assert wait_for(lambda: store.load_run(run).state is State.FAILED)
        assert worker.returncode == 3, "polled: no zombie stays behind"
        status = store.load_run(run).status
        assert status is not None and status.error is not None
        assert "exit code 3" in status.error and "ImportError: no torch here" in status.error
        inbox.wait(lambda: inbox.of(RunsListed)[-1].runs[0].state is State.FAILED)


class FakeMonitor:
    """Fails, then has no GPU."""

    made = 0
    gpu_problem = "no GPU"

    def __init__(self, disk_path: Path, pid: int | None = None) -> None:
        type(self).made += 1
        if type(self).made == 1:
            raise OSError("driver on fire")

    def sample(self) -> SystemRecord:
        return SystemRecord(host=HostSample(cpu_percent=12.0))

    def close(self) -> None:
        pass


def test_system_samples(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "SYSTEM_SECONDS", 0.02)
    monkeypatch.setattr(monitor, "Monitor", FakeMonitor)
    feed = SystemFeed(tmp_path, inbox.post)
    feed.start()
    inbox.wait(lambda: len(inbox.of(SystemSampled)) >= 2)
    feed.stop()
    assert not feed.is_alive()
    assert [message.text for message in inbox.of(FeedProblem)] == [
        "GPUs and host cannot be read: OSError('driver on fire')"
    ]
    assert inbox.of(SystemSampled)[0].gpu_problem == "no GPU"
    assert inbox.of(SystemSampled)[0].sample.host.cpu_percent == 12.0
