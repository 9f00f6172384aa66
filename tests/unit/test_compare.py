"""Comparing runs: what differs, who leads, paired tests on the same images, and what `runs compare` prints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist_tui.analysis import compare
from fmnist_tui.analysis.differences import differing
from fmnist_tui.analysis.epochs import epoch_steps, epoch_text, evaluations
from fmnist_tui.cli import main
from fmnist_tui.console.compare import comparison_object
from fmnist_tui.report import run_page
from fmnist_tui.runs import store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.status import State
from tests.results import result_of
from tests.unit.compared_runs import make_run, write_predictions
from tests.unit.stored_runs import write_status


def loaded(*runs: RunDirectory) -> list[store.Run]:
    return [store.load_run(run) for run in runs]


def evaluated(runs: list[store.Run]) -> list[list[EvalRecord]]:
    return [evaluations(run.directory) for run in runs]


def test_only_what_differs_is_listed(runs_dir: Path) -> None:
    runs = loaded(
        make_run(runs_dir, [80.0]),
        make_run(runs_dir, [80.0], optimizer__lr=0.05),
        make_run(runs_dir, [80.0], seed=7, model__kind="densenet"),
    )
    found = dict(differing(runs))
    assert found["seed"] == (40000, 40000, 7) and found["optimizer.lr"] == (0.1, 0.05, 0.1)
    assert found["model.kind"] == ("wide_resnet", "wide_resnet", "densenet")
    assert found["model.widen_factor"] == (2, 2, None), "a field the family does not have"
    assert "training.epochs" not in found and "name" not in found
    assert differing(runs[:1] * 2) == []


def test_what_was_changed_on_the_way_differs_too(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directories = [make_run(runs_dir, [80.0]) for _ in range(4)]
    write_status(directories[1], epochs=1)
    write_status(directories[2], stop_at_accuracy=85.0)
    early = store.load_run(directories[3]).config
    assert early is not None
    directories[3].result.write_text(result_of(early, directories[3].id, epochs=5).to_json())
    assert differing(loaded(*directories)) == [
        ("training.epochs", (8, 1, 8, 5)),
        ("training.stop_at_accuracy", (None, None, 85.0, None)),
    ]
    assert main(["runs", "compare", directories[0].id, directories[1].id]) == 0
    shown = capsys.readouterr().out
    assert "the same configuration" not in shown and "training.epochs" in shown


def test_the_leader_at_the_last_common_epoch(runs_dir: Path) -> None:
    runs = loaded(make_run(runs_dir, [70, 80, 85]), make_run(runs_dir, [75, 79]))
    found = compare.lead(runs, evaluated(runs))
    assert found is not None
    assert (found.epoch, found.accuracies, found.leaders, found.led, found.common) == (2, (80, 79), [0], (1, 1), 2)
    assert found.margin == 1.0
    assert compare.lead_sentence(found, runs) == (
        "At epoch 2, the last that all have evaluated, A leads B by 1.00 points (80.00 to 79.00 %); "
        "ahead at 1 of 2 epochs."
    )


def test_level_runs_and_nothing_in_common(runs_dir: Path) -> None:
    runs = loaded(make_run(runs_dir, [70, 80]), make_run(runs_dir, [70, 80]))
    one, two = evaluated(runs)
    assert "A and B are level at 80.00 %" in compare.lead_sentence(compare.lead(runs, [one, two]), runs)
    assert compare.lead(runs, [one, []]) is None and compare.lead(runs[:1], [one]) is None
    apart = compare.lead(runs, [one[:1], two[1:]])
    assert compare.lead_sentence(apart, runs) == (
        "No epoch has been evaluated by all of them: nothing to compare at equal epochs."
    )
    at_work = [runs[0], replace(runs[1], state=State.RUNNING)]
    assert "evaluated by all of them yet" in compare.lead_sentence(apart, at_work)


def test_several_are_level_in_one_list_and_one_epoch_is_no_count(runs_dir: Path) -> None:
    runs = loaded(*(make_run(runs_dir, [value]) for value in (80, 80, 70, 80)))
    found = evaluated(runs)
    assert "A, B and D are level at 80.00 %." in compare.lead_sentence(compare.lead(runs, found), runs)
    said = compare.lead_sentence(compare.lead(runs[1:3], found[1:3]), runs[1:3])
    assert said.endswith("A leads B by 10.00 points (80.00 to 70.00 %).")


def test_an_evaluation_in_mid_epoch_is_not_the_epoch_s(runs_dir: Path) -> None:
    """B came to its step limit in the midst of its third epoch: that is compared with nobody's whole third epoch."""
    whole, cut, same = loaded(*(make_run(runs_dir, [70, 80, 85]) for _ in range(3)))
    third = {"test_accuracy": 60.0, "step": 100}
    records = evaluated([whole, cut, same])
    for at in (1, 2):
        records[at][2] = records[at][2].model_copy(update=third)
    found = compare.lead([whole, cut], records[:2])
    assert found is not None and (found.epoch, found.accuracies, found.common) == (2, (80, 80), 2)
    both = compare.lead([cut, same], records[1:])
    assert both is not None and both.common == 3
    assert compare.lead_sentence(both, [cut, same]) == (
        "At epoch 2.13, the last that all have evaluated, A and B are level at 60.00 %."
    )


def test_nobody_leads_on_other_images(runs_dir: Path) -> None:
    runs = loaded(make_run(runs_dir, [90.0] * 8), make_run(runs_dir, [80.0] * 8, data__split="custom"))
    found = compare.lead(runs, evaluated(runs))
    assert found is None
    assert compare.lead_sentence(found, runs).startswith("They were not tested on the same images")
    assert compare.lead(runs[:1] * 2, evaluated(runs[:1] * 2)) is not None


def test_pairs_on_the_same_images(runs_dir: Path) -> None:
    runs = loaded(
        make_run(runs_dir, [90.0] * 8, slice(0, 200)),
        make_run(runs_dir, [89.5] * 8, slice(190, 400)),
        make_run(runs_dir, [75.0] * 6, slice(0, 500), State.STOPPED),
    )
    found = compare.pairs(runs)
    assert [(pair.first, pair.second) for pair in found] == [(0, 1), (0, 2), (1, 2)]
    first = found[0].comparison
    assert first is not None and first.images == 2000 and first.accuracies == (90.0, 89.5)
    assert (first.test.only_first, first.test.only_second) == (200, 190)
    assert first.within_noise and first.adjusted_p == first.test.p, "the largest of three is not raised"
    said = compare.pair_sentences(found[0], 3)
    assert "= +0.50 points" in said[0] and said[0].endswith("within noise.")
    second = found[1].comparison
    assert second is not None and not second.within_noise and second.adjusted_p > second.test.p
    said = compare.pair_sentences(found[1], 3)
    assert "A is better beyond noise" in said[0] and "(A at epoch 8, C at 6)" in said[1]
    assert "p < 0.0001, adjusted for 3 pairs" in said[1]


def test_a_pair_names_an_evaluation_in_mid_epoch_by_what_was_trained(runs_dir: Path) -> None:
    """A step limit ends a run within its third epoch: the record bears its number, and half of it was trained."""
    short = make_run(runs_dir, [60.0, 70.0, 75.0], slice(0, 500))
    whole = make_run(runs_dir, [60.0, 70.0, 80.0], slice(0, 400))
    lines = [json.loads(line) for line in short.metrics.read_text().splitlines()]
    per_epoch = epoch_steps(None, loaded(short)[0].config)
    for line in lines:
        line["step"] = per_epoch * line["epoch"] - (per_epoch // 2 if line["epoch"] == 3 else 0)
    short.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    runs = loaded(short, whole)
    whole.metrics.unlink()  # then what the predictions say
    (pair,) = compare.pairs(runs)
    assert pair.epochs == (lines[-1]["step"] / per_epoch, 3)
    assert "(A at epoch 2.5" in compare.pair_sentences(pair, 1)[1]
    (pair,) = comparison_object(runs, [[], []], [pair])["pairs"]
    assert pair["epochs"] == [lines[-1]["step"] / per_epoch, 3]
    page = run_page.section(runs[0], "short")
    assert "Confusion matrix after epoch 2.5" in page and "after epoch 3" not in page


@pytest.mark.parametrize(
    ("epochs", "text"), [(8, "8"), (8.0, "8"), (2.656, "2.66"), (2.9999, "2.9999"), (1200, "1,200")]
)
def test_epochs_in_words(epochs: float, text: str) -> None:
    assert epoch_text(epochs) == text


def test_what_cannot_be_tested_says_why(runs_dir: Path) -> None:
    done = make_run(runs_dir, [90.0])
    short = make_run(runs_dir, [90.0])
    write_predictions(short, 1, slice(0, 10), images=1000)
    damaged = make_run(runs_dir, [90.0])
    damaged.predictions.write_bytes(b"PK half a file")
    others = [
        (make_run(runs_dir, [90.0], None), "B has no predictions"),
        (make_run(runs_dir, [90.0], data__split="custom"), "A was tested on the standard split of the sample data; B"),
        (make_run(runs_dir, [90.0], data__source="full"), "B was tested on the standard split of the full data"),
        (short, "B can't be tested: predictions.npz holds 1,000 images"),
        (damaged, "B can't be tested: predictions.npz is damaged"),
    ]
    for other, reason in others:
        (pair,) = compare.pairs(loaded(done, other))
        assert pair.comparison is None and reason in pair.why_not, reason
        assert compare.untested_sentence([pair]) == f"No paired test: {pair.why_not}."
        assert other.id not in pair.why_not, "its letter names it"


def test_a_reason_that_several_share_is_said_once(runs_dir: Path) -> None:
    archived = [make_run(runs_dir, [90.0], None) for _ in range(3)]
    found = compare.pairs(loaded(*archived))
    assert compare.untested_sentence(found) == "No paired tests: A, B and C have no predictions."
    assert found[0].why_not == "A has no predictions; B has no predictions"
    tested = [make_run(runs_dir, [90.0]) for _ in range(2)]
    other = make_run(runs_dir, [90.0], data__split="custom")
    found = compare.pairs(loaded(archived[0], *tested, other))
    assert sum(pair.comparison is not None for pair in found) == 1
    assert compare.untested_sentence(found) == (
        "No other paired tests: A has no predictions; A, B and C were tested on the standard split of the sample "
        "data; D was tested on the custom split of the sample data."
    )
    assert compare.untested_sentence([pair for pair in found if pair.comparison]) == ""


def test_a_run_at_work_is_not_tested(runs_dir: Path) -> None:
    done, other = loaded(make_run(runs_dir, [90.0]), make_run(runs_dir, [90.0]))
    training = store.Run(other.directory, other.config, other.status, None, State.RUNNING)
    (pair,) = compare.pairs([done, training])
    assert pair.comparison is None and "B is running: a run is tested when it has ended" in pair.why_not


def test_without_the_full_data_the_reason_is_given(runs_dir: Path, tmp_path: Path) -> None:
    runs = loaded(*(make_run(runs_dir, [90.0], data__source="full") for _ in range(2)))
    (pair,) = compare.pairs(runs, tmp_path)
    assert "A can't be tested without the true labels: The Fashion-MNIST data set was not found" in pair.why_not
    assert compare.untested_sentence([pair]).count("The Fashion-MNIST data set was not found") == 1


@pytest.mark.parametrize(
    ("p", "text"), [(0.43, "= 0.43"), (1.0, "= 1.0"), (0.9961, "= 1.0"), (0.00123, "= 0.0012"), (1e-9, "< 0.0001")]
)
def test_p_values_in_words(p: float, text: str) -> None:
    assert compare.p_text(p) == text


# --- the command


def test_runs_compare_prints_it_all(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make_run(runs_dir, [70.0, 90.0], slice(0, 200))
    b = make_run(runs_dir, [75.0, 89.5], slice(190, 400), optimizer__lr=0.05)
    assert main(["runs", "compare", a.id, b.id]) == 0
    shown = capsys.readouterr().out
    sentences = " ".join(shown.split())  # where lines break depends on the length of tmp_path
    for part in (
        a.id, b.id, "optimizer.lr 0.1 0.05", "A leads B by 0.50 points", "within noise",
        "2,000 test images: 200 only A has right, 190 only B", "McNemar (exact) p = 0.65.", "another seed",
    ):  # fmt: skip
        assert part in sentences, part
    assert "seed   " not in shown, "what is equal is not listed"


def test_runs_compare_of_an_archive_says_once_that_it_has_no_predictions(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(runs_dir, [75.0, 89.5], None, seed=seed).id for seed in range(3)]
    assert main(["runs", "compare", *runs]) == 0
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith("No paired tests: A, B and C have no predictions.")


def test_runs_compare_as_json(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make_run(runs_dir, [70.0, 90.0], slice(0, 200))
    b = make_run(runs_dir, [75.0, 89.5], None)
    assert main(["runs", "compare", a.id, b.id, a.id[-4:] + "x"]) == 2
    capsys.readouterr()
    c = make_run(runs_dir, [75.0, 89.0], slice(190, 400), seed=3)
    assert main(["runs", "compare", a.id, b.id, c.id, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["letter"] for run in found["runs"]] == ["A", "B", "C"]
    assert found["differences"] == {"seed": [40000, 40000, 3]}
    assert found["at_equal_epochs"]["margin"] == pytest.approx(0.5)
    without, tested, _ = found["pairs"]
    assert without["comparison"] is None and "has no predictions" in without["why_not"]
    assert tested["comparison"]["within_noise"] is True
    assert tested["comparison"]["test"]["only_first"] == 200


def test_runs_compare_refuses_what_it_cannot_mean(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = make_run(runs_dir, [90.0]), make_run(runs_dir, [90.0])
    for arguments, reason in (
        ([a.id], "takes 2 to 8 runs, 1 given"),
        ([a.id] * 9, "takes 2 to 8 runs, 9 given"),
        ([a.id, b.id[:-1] + "!"], f"did you mean {b.id}?"),
    ):
        assert main(["runs", "compare", *arguments]) == 2
        assert reason in capsys.readouterr().err
    assert main(["runs", "compare", b.id, "last"]) == 2
    assert "are the same run" in capsys.readouterr().err
