"""What the feed reads with: the list of runs and a run's metric lines, only what changed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.runs import process, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.tui import reading
from fmnist_tui.tui.metric_lines import MetricRecord, TrainLines
from fmnist_tui.tui.reading import LogReader, MetricsReader, RunList, plain
from tests.tui.synthetic import RunMaker, status_of, write_result


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs that are loaded from disk, in order."""
    loaded: list[str] = []
    load = store.load_run

    def note(directory: RunDirectory, config: RunConfig | None = None) -> store.Run:
        loaded.append(directory.id)
        return load(directory, config)

    monkeypatch.setattr(store, "load_run", note)
    return loaded


def _age(run: RunDirectory) -> None:
    """Let a run's directory have been changed a while ago, so that its time can be relied on."""
    os.utime(run.path, (time.time() - 60, time.time() - 60))


class TestRunList:
    def test_only_what_changed_is_read_again(self, maker: RunMaker, runs_dir: Path, loads: list[str]) -> None:
        made = [maker.make("quick") for _ in range(5)]
        for run in made:
            _age(run)
        runs = RunList(runs_dir)
        assert runs.scan() is True
        assert len(loads) == 5
        assert runs.scan() is False
        assert len(loads) == 5, "nothing changed: nothing is read"
        maker.write_status(made[2], loss=0.5)
        assert runs.scan() is True
        assert loads[5:] == [made[2].id]
        assert status_of(next(run for run in runs.newest_first() if run.id == made[2].id)).loss == 0.5

    def test_a_run_changed_just_now_is_read_again(self, maker: RunMaker, runs_dir: Path, loads: list[str]) -> None:
        """A second change within the file system's clock tick would leave the directory's time as it was."""
        run = maker.make("quick")
        runs = RunList(runs_dir)
        runs.scan()
        modified = run.path.stat().st_mtime_ns
        maker.write_status(run, loss=0.25)
        os.utime(run.path, ns=(modified, modified))
        assert runs.scan() is True
        assert status_of(runs.newest_first()[0]).loss == 0.25

    def test_new_and_deleted_runs(self, maker: RunMaker, runs_dir: Path) -> None:
        runs = RunList(runs_dir)
        assert runs.scan() is False, "a missing directory holds nothing"
        first = maker.make("quick", run_id="20261101-000000-quick-aaaa")
        assert runs.directory_changed()
        assert runs.scan() is True
        assert not runs.directory_changed()
        second = maker.make("wrn", run_id="20261102-000000-wrn-aaaa")
        (runs_dir / "notes").mkdir()
        (runs_dir / ".hidden").mkdir()
        assert runs.scan() is True
        assert [run.id for run in runs.newest_first()] == [second.id, first.id]
        store.delete_run(store.load_run(first))
        assert runs.scan() is True
        assert [run.id for run in runs.newest_first()] == [second.id]
        assert runs.refresh(first.id) is None

    @pytest.mark.parametrize(
        ("goes_on", "state"), [(False, State.LOST), (True, State.FINISHED)], ids=["lost", "finished before"]
    )
    def test_a_dead_worker_is_seen_without_a_change_on_disk(
        self,
        maker: RunMaker,
        runs_dir: Path,
        loads: list[str],
        monkeypatch: pytest.MonkeyPatch,
        goes_on: bool,
        state: State,
    ) -> None:
        """A run with a result was told to go on, and took no step: it is finished."""
        run = maker.make("wrn", State.RUNNING, epoch=3)
        if goes_on:
            write_result(run)
        _age(run)
        runs = RunList(runs_dir)
        runs.scan()
        assert runs.newest_first()[0].state is State.RUNNING
        monkeypatch.setattr(process, "actual_state", lambda status: State.LOST)
        assert runs.scan() is True
        assert runs.newest_first()[0].state is state
        assert len(loads) == 1

    def test_the_list_is_another_where_a_refresh_saw_the_change_first(self, maker: RunMaker, runs_dir: Path) -> None:
        """A run that ended while its screen was open stayed at work in the list."""
        run = maker.make("quick", State.RUNNING, epoch=3)
        _age(run)
        runs = RunList(runs_dir)
        runs.scan()
        maker.write_status(run, state=State.FINISHED)
        refreshed = runs.refresh(run.id)
        assert refreshed is not None and refreshed.state is State.FINISHED
        assert runs.scan() is True and runs.newest_first() == [refreshed]
        assert runs.scan() is False

    def test_refresh_gives_the_same_object_while_nothing_changed(self, maker: RunMaker, runs_dir: Path) -> None:
        run = maker.make("wrn", State.RUNNING, epoch=3)
        _age(run)
        runs = RunList(runs_dir)
        first = runs.refresh(run.id)
        assert first is not None
        assert runs.refresh(run.id) is first
        maker.write_status(run, epoch=4)
        changed = runs.refresh(run.id)
        assert changed is not None and changed is not first
        assert changed.status is not None and changed.status.epoch == 4

    def test_a_directory_that_is_a_file_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "runs").write_text("")
        with pytest.raises(RunError, match="is a file"):
            RunList(tmp_path / "runs").scan()

    def test_two_hundred_runs_cost_close_to_nothing(self, maker: RunMaker, runs_dir: Path) -> None:
        """A scan of 200 finished runs takes about a millisecond; 20 leaves room for a busy machine."""
        model = maker.make("quick")
        for number in range(199):
            copy = runs_dir / f"20261101-000{number:03}-quick-aaaa"
            copy.mkdir()
            for file in (".fmnist-tui-run", "config.json", "status.json"):
                (copy / file).write_bytes((model.path / file).read_bytes())
            _age(RunDirectory(copy))
        _age(model)
        runs = RunList(runs_dir)
        runs.scan()
        times = []
        for _ in range(9):
            start = time.thread_time()
            assert runs.scan() is False
            times.append(time.thread_time() - start)
        assert len(runs.newest_first()) == 200
        assert sorted(times)[4] < 0.02


def kinds(records: list[MetricRecord]) -> list[str]:
    """The kind of each line."""
    found: list[str] = []
    for record in records:
        found += ["train"] * record.steps.size if isinstance(record, TrainLines) else [record.kind]
    return found


class TestReaders:
    def test_metrics_are_read_once_and_whole(self, maker: RunMaker) -> None:
        run = maker.make("wrn", State.RUNNING, epoch=3)
        reader = MetricsReader(run)
        assert reader.read() == ([], True), "no file yet"
        maker.write_metrics(run, 3)
        records, restarted = reader.read()
        assert kinds(records) == ["train", "eval"] * 3
        assert not restarted
        assert reader.read() == ([], False)
        with run.metrics.open("ab") as file:
            file.write(b'{"kind": "train", "step"')
        assert reader.read() == ([], False), "half a line is no line"
        with run.metrics.open("ab") as file:
            file.write(b': 1}\nrubbish\n{"kind":"of-tomorrow"}\n')
        maker.write_metrics(run, 1, first=4)
        records, _ = reader.read()
        assert kinds(records) == ["train", "eval"], "damaged and unknown lines are passed over"

    def test_a_replaced_file_starts_anew(self, maker: RunMaker) -> None:
        run = maker.make("wrn", State.RUNNING, epoch=3)
        maker.write_metrics(run, 5)
        reader = MetricsReader(run)
        assert reader.read()[1] is True
        run.metrics.unlink()
        maker.write_metrics(run, 1)
        records, restarted = reader.read()
        assert restarted
        assert len(records) == 2

    def test_a_long_file_comes_in_parts(self, maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "READ_BYTES", 100_000)
        run = maker.make("wrn", State.RUNNING, epoch=3)
        maker.write_metrics(run, 500)
        reader = MetricsReader(run)
        parts = [reader.read()[0]]
        while reader.more:
            parts.append(reader.read()[0])
        assert len(parts) > 1
        assert [step for part in parts for r in part if isinstance(r, TrainLines) for step in r.steps] == [
            118 * n for n in range(1, 501)
        ]
        assert reader.read() == ([], False)

    def test_a_log_starts_with_its_end(self, maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "LOG_LINES", 3)
        run = maker.make("wrn", State.RUNNING, epoch=3)
        run.worker_log.write_text("".join(f"line {n}\n" for n in range(10)))
        reader = LogReader(run)
        assert reader.read() == (["line 7", "line 8", "line 9"], True)
        with run.worker_log.open("a") as log:
            log.write("one more\n")
        assert reader.read() == (["one more"], False)

    def test_a_last_line_without_its_end_is_given_once_it_has_stopped_growing(
        self, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = SimpleNamespace(now=100.0)
        monkeypatch.setattr(reading, "time", SimpleNamespace(monotonic=lambda: clock.now, time=time.time))
        run = maker.make("wrn", State.RUNNING, epoch=3)
        run.worker_log.write_bytes(b"whole\nhal")
        reader = LogReader(run)
        assert reader.read() == (["whole"], True)
        clock.now += 0.9 * reading.STILL_SECONDS
        with run.worker_log.open("ab") as log:
            log.write(b"f")
        assert reader.read() == ([], False), "it grows"
        clock.now += reading.STILL_SECONDS
        assert reader.read() == (["half"], False)
        clock.now += reading.STILL_SECONDS
        assert reader.read() == ([], False), "once"
        with run.worker_log.open("ab") as log:
            log.write(b" and half\nlast\n")
        assert reader.read() == (["whole", "half and half", "last"], True), "no line in two parts"
        clock.now += reading.STILL_SECONDS
        assert reader.read() == ([], False)

    def test_an_old_log_s_line_without_its_end_is_there_at_once(self, maker: RunMaker) -> None:
        run = maker.make("wrn", State.FAILED, epoch=3)
        run.worker_log.write_bytes(b"whole\ncut in the midd")
        os.utime(run.worker_log, (1e9, 1e9))
        assert LogReader(run).read() == (["whole", "cut in the midd"], True)

    @pytest.mark.parametrize(
        ("line", "text"),
        [
            (b"\x1b[31mred\x1b[0m \x07bell", "red bell"),
            (b" 10%\r 20%\r 30%\r", " 30%"),
            (b"a\tb", "a   b"),
            (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
        ],
    )
    def test_log_lines_are_plain(self, line: bytes, text: str) -> None:
        assert plain(line) == text
