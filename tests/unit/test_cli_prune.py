"""`runs prune` on made-up runs, through `main` in this process; and what is said of checkpoints that it removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.runs.status import State
from tests.checkpoints import write_all
from tests.printed import json_lines
from tests.unit.cli_runs import finished_run, make_run


def test_every_finished_run_is_pruned_and_no_other(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished, stopped = [finished_run(runs_dir) for _ in range(2)], make_run(runs_dir, state=State.STOPPED)
    size = max(write_all(run) for run in (*finished, stopped))
    assert main(["runs", "prune", "--dry-run", "--json"]) == 0
    said = json_lines(capsys.readouterr().out)
    files = ["checkpoints/previous.pt", "checkpoints/best.pt"]
    objects = [{"run": run.id, "files": files, "bytes": 2 * size, "removed": False} for run in finished]
    assert sorted(said, key=lambda record: str(record["run"])) == sorted(objects, key=lambda record: str(record["run"]))
    assert len(list(runs_dir.rglob("*.pt"))) == 9
    assert main(["runs", "prune", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert all(run.id in out for run in finished) and stopped.id not in out and "2 runs" in out
    assert main(["runs", "prune", "--yes"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].split() == ["2", "runs", "20", "kB"]
    assert captured.err == "20 kB freed. Results, curves, predictions and the last checkpoint stay.\n"
    assert sorted(path.name for run in finished for path in run.checkpoints.iterdir()) == ["last.pt", "last.pt"]
    assert len(list(stopped.checkpoints.iterdir())) == 3
    assert main(["runs", "prune"]) == 0, "nothing to ask about"
    assert "no spare checkpoints" in capsys.readouterr().err


def test_prune_asks_and_takes_no_for_an_answer(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(runs_dir)
    write_all(run)
    assert main(["runs", "prune", "last"]) == 2
    assert "no terminal to ask on; add --yes, or --dry-run" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter([False, True])
    asked = list[str]()

    def confirm(question: str, err: bool) -> bool:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr("typer.confirm", confirm)
    assert main(["runs", "prune", "last", "--keep", "none"]) == 0
    assert len(list(run.checkpoints.iterdir())) == 3
    assert "Nothing was removed" in capsys.readouterr().err
    assert main(["runs", "prune", "last", "--keep", "none"]) == 0
    assert list(run.checkpoints.iterdir()) == []
    assert "nothing can be evaluated anew, exported or trained further" in asked[1]


def test_a_named_run_that_has_not_finished_is_refused_and_nothing_goes(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, stopped = finished_run(runs_dir), make_run(runs_dir, state=State.STOPPED)
    write_all(run)
    write_all(stopped)
    assert main(["runs", "prune", run.id, stopped.id, "--yes"]) == 2
    said = f"{stopped.id}: is stopped, and goes on from its checkpoints; delete all of it: fmnist-tui runs delete"
    assert said in capsys.readouterr().err
    assert len(list(runs_dir.rglob("*.pt"))) == 6


def test_a_removed_checkpoint_is_said_to_be(runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(runs_dir)
    write_all(run)
    assert main(["runs", "prune", "last", "--yes"]) == 0
    capsys.readouterr()
    (tmp_path / "shoe.png").write_bytes(b"no picture")
    onnx = ["runs", "export", "last", "--to", "safetensors", "--checkpoint", "best"]
    for command in (["predict", "last", str(tmp_path / "shoe.png"), "--checkpoint", "best"], onnx):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"{run.id}: has no best checkpoint" in said and "it was removed; there is the last one" in said
    assert main(["runs", "prune", "last", "--yes", "--keep", "none"]) == 0
    capsys.readouterr()
    assert main(["run", "resume", "last", "--epochs", "500"]) == 2
    assert "has no checkpoint to go on from; train it anew" in capsys.readouterr().err


def test_show_and_doctor_say_what_could_be_freed(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = finished_run(runs_dir)
    size = write_all(run, best_is_last=True)
    assert main(["runs", "show", "last"]) == 0
    said = f"; 5.1 kB of it are spare checkpoints: fmnist-tui runs prune {run.id}\n"
    assert said in unfolded(capsys.readouterr().out)
    assert main(["runs", "show", "last", "--json"]) == 0
    (shown,) = json_lines(capsys.readouterr().out)
    assert shown["bytes_on_disk"] == sum(
        path.stat().st_size for path in run.path.rglob("*") if path.is_file() and path.name != "best.pt"
    )
    assert main(["doctor", "--json"]) == 0
    (doctor,) = json_lines(capsys.readouterr().out)
    assert doctor["directories"]["spare_checkpoints_bytes"] == size


def unfolded(text: str) -> str:
    """Lines without the spaces that fill a table's cells."""
    return "".join(line.rstrip() + "\n" for line in text.splitlines())
