"""report: CSV and JSON of the runs, and BENCHMARKS.md when several runs end at once."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from fmnist_tui import report
from fmnist_tui.report import FORMATS, render, write_benchmarks
from fmnist_tui.report.export import csv_columns
from fmnist_tui.runs.layout import BENCHMARKS
from fmnist_tui.runs.result import Provenance, Result
from fmnist_tui.runs.store import list_runs
from tests.unit.report_runs import finish, only_row, preset, read_markdown


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_one_line_a_run_and_every_field(runs_dir: Path) -> None:
    older = finish(runs_dir, preset("wrn", seed=1), test_accuracy=94.0025, energy_joules=None)
    newer = finish(runs_dir, preset("quick", training__epochs=2, name='a,"b"'), deterministic=True, test_loss=math.nan)
    text = render(runs_dir, "csv")
    first, second = read_csv(text)
    assert (first["id"], second["id"]) == (newer.id, older.id)
    fields = [name for name in Result.model_fields if name != "provenance"]
    assert list(first) == csv_columns() and csv_columns()[: len(fields)] == fields
    assert {f"provenance.{name}" for name in Provenance.model_fields} <= set(first)
    assert second["test_accuracy"] == "94.0025" and second["energy_joules"] == "" and second["deterministic"] == "false"
    assert second["reference_accuracy"] == "93.2775" and second["model_name"] == "WideResNet"
    assert (second["provenance.torch"], second["provenance.command"]) == ("2.14.1", '["fmnist-tui"]')
    assert (second["changed"], first["changed"]) == ("", "training.epochs 8 -> 2")
    assert (first["name"], first["deterministic"], first["test_loss"]) == ('a,"b"', "true", "NaN")
    assert first["reference_accuracy"] == ""


@pytest.mark.parametrize("name", ["=1+2|cmd", "+1", "-1+cmd", "@SUM(A1)"])
def test_no_text_of_a_csv_is_a_formula(runs_dir: Path, name: str) -> None:
    config = preset("quick").model_copy(update={"preset": None, "name": name})
    finish(runs_dir, config, device_name="\t=x", test_loss=-math.inf)
    (run,) = read_csv(render(runs_dir, "csv"))
    assert (run["name"], run["device_name"], run["test_loss"]) == (f"'{name}", "'\t=x", "-Infinity")
    (row,) = read_csv(render(runs_dir, "csv", group_by="preset"))
    assert (row["label"], row["device"], float(row["n"])) == (f"'{name}", "'\t=x", 1)


def test_the_csv_header_does_not_depend_on_the_runs(runs_dir: Path) -> None:
    empty = render(runs_dir, "csv")
    finish(runs_dir, preset("wrn"))
    full = render(runs_dir, "csv")
    assert empty == ",".join(csv_columns()) + "\n" == full.splitlines(keepends=True)[0]


def test_json_has_rows_and_runs_as_numbers(runs_dir: Path) -> None:
    ids = [finish(runs_dir, preset("wrn", seed=seed), test_accuracy=94.0 + seed).id for seed in (1, 2)]
    finish(runs_dir, preset("quick", training__epochs=2), test_loss=math.inf)
    finish(runs_dir, preset("dpn")).result.write_text("{}")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    data = json.loads(render(runs_dir, "json"), parse_constant=refuse)
    assert set(data) == {"rows", "runs", "skipped"}
    wrn, quick = data["rows"]
    assert wrn["runs"] == ids and wrn["seeds"] == [1, 2]
    assert wrn["test_accuracy"] == {"mean": 95.5, "sd": pytest.approx(math.sqrt(0.5))}
    assert wrn["final_minus_reference"] == pytest.approx(95.5 - 93.2775)
    assert wrn["reference_accuracy"] == 93.2775 and wrn["hyperparameters"]["schedule.milestones"] == [60, 120, 160]
    assert quick["test_accuracy"]["sd"] is None and quick["reference_accuracy"] is None
    assert [run["id"] for run in data["runs"]][1:] == ids[::-1]
    run = data["runs"][0]
    assert run["changed"] == {"training.epochs": {"preset": 8, "run": 2}} and run["test_loss"] == "Infinity"
    assert set(Result.model_fields) < set(run)
    assert [skipped["reason"][:11] for skipped in data["skipped"]] == ["result.json"]


def test_every_format_of_no_runs(runs_dir: Path) -> None:
    for format in FORMATS:
        assert render(runs_dir, format).endswith("\n")
    assert json.loads(render(runs_dir, "json")) == {"rows": [], "runs": [], "skipped": []}


def test_benchmarks_is_rewritten(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn"))
    path = write_benchmarks(runs_dir)
    assert path == runs_dir / BENCHMARKS
    first = path.read_text(encoding="utf-8")
    assert first == render(runs_dir)
    finish(runs_dir, preset("wrn", seed=1))
    write_benchmarks(runs_dir)
    assert only_row(runs_dir)["Runs"] == "2" and path.read_text(encoding="utf-8") == render(runs_dir)
    assert [entry.name for entry in runs_dir.iterdir() if entry.name.endswith(".tmp")] == []
    assert len(list_runs(runs_dir)) == 2  # neither the table nor its lock is taken for a run


def test_a_run_that_ends_while_the_table_is_written(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second writer must wait, or the first one's older table would replace its newer one."""
    finish(runs_dir, preset("wrn"))
    second = threading.Thread(target=write_benchmarks, args=[runs_dir])

    def slow_render(directory: Path) -> str:
        if not second.ident:
            text = render(directory)
            finish(runs_dir, preset("densenet"))
            second.start()
            second.join(0.3)  # it ends here only where nothing keeps it from writing
            return text
        return render(directory)

    monkeypatch.setattr(report, "render", slow_render)
    write_benchmarks(runs_dir)
    second.join(30)
    text = (runs_dir / BENCHMARKS).read_text(encoding="utf-8")
    assert {row["Preset"] for row in read_markdown(text)["Full data, custom split"]} == {"wrn", "densenet"}


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fmnist_tui.report import write_benchmarks
from tests.unit.report_runs import finish, preset

runs_dir, name = Path(sys.argv[2]), sys.argv[3]
for number in range(int(sys.argv[4])):
    config = preset("wrn").model_copy(update={"preset": None, "name": f"{name}-{number}"})
    finish(runs_dir, config)
    text = write_benchmarks(runs_dir).read_text(encoding="utf-8")
    assert f"| {name}-{number} " in text, f"{name}-{number} was lost"
"""


def test_processes_that_end_runs_at_once_lose_none(runs_dir: Path) -> None:
    count, names = 10, ("left", "right", "middle")
    root = str(Path(__file__).parents[2])
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, root, str(runs_dir), name, str(count)], stderr=subprocess.PIPE)
        for name in names
    ]
    shown: set[str] = set()
    until = time.monotonic() + 120
    while any(writer.poll() is None for writer in writers):
        assert time.monotonic() < until
        time.sleep(0.002)  # leaves the cores to the writers
        if (runs_dir / BENCHMARKS).exists():
            now = set(re.findall(r"\w+-\d+(?= +\| own)", (runs_dir / BENCHMARKS).read_text(encoding="utf-8")))
            assert shown <= now, "a newer table was replaced by an older one"
            shown = now
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors.decode()
    text = (runs_dir / BENCHMARKS).read_text(encoding="utf-8")
    rows = read_markdown(text)["Full data, custom split"]
    assert {row["Preset"] for row in rows} == {f"{name}-{number}" for name in names for number in range(count)}
    assert text == render(runs_dir)


def test_a_lock_that_is_held_too_long(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(runs_dir, preset("wrn"))
    monkeypatch.setattr(report, "LOCK_SECONDS", 0.05)
    with FileLock(runs_dir / ".benchmarks.lock"), pytest.raises(Timeout):
        write_benchmarks(runs_dir)
    assert issubclass(Timeout, OSError)  # what the trainer catches
    assert not (runs_dir / BENCHMARKS).exists()


def test_a_table_that_cannot_be_written_leaves_the_old_one(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(runs_dir, preset("wrn"))
    old = write_benchmarks(runs_dir).read_bytes()
    finish(runs_dir, preset("dpn"))

    def full_disk(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "replace_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_benchmarks(runs_dir)
    assert (runs_dir / BENCHMARKS).read_bytes() == old
