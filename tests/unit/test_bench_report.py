"""Bench records: their arithmetic, their JSON, their tables, and that the docs' tables are the archive's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fmnist_tui.report import markdown
from fmnist_tui.report.bench import BenchFileError, BenchRecord, LowResolution, Ratio, Round, Scaling, read_records
from fmnist_tui.report.bench_tables import (
    bench_report,
    comparison_table,
    cost_table,
    markdown_page,
    notes,
    scaling_table,
    speed_table,
)
from tests.unit.bench_records import bench_record, comparison, scaling_point

ROOT = Path(__file__).parents[2]


def test_a_ratio_is_taken_within_its_round() -> None:
    """The machine is twice as slow in the second round: the ratio of medians would be 2.25."""
    ratio = Ratio.over([Round(ours=100, plain=50), Round(ours=60, plain=20), Round(ours=90, plain=40)])
    assert (ratio.median, ratio.low, ratio.high) == (2.25, 2.0, 3.0)
    skewed = Ratio.over([Round(ours=10, plain=1), Round(ours=2, plain=2), Round(ours=9, plain=3)])
    assert skewed.median == 3.0, "of 10, 1 and 3; the medians of the sides would give 4.5"


def test_achieved_arithmetic_is_a_share_of_the_faster_ceiling() -> None:
    record = bench_record()
    assert record.flops_per_second == 1e12
    assert record.ceiling_share == 0.5
    assert bench_record(matrix_product_flops=4e12).ceiling_share == 0.25


def test_time_for_the_whole_preset() -> None:
    record = bench_record()
    assert (record.epoch_seconds, record.evaluation_seconds) == (300.0, 100.0)
    assert record.total_seconds == 5 + 200 * 300 + 200 * 100
    compiled = bench_record(compile="default", compile_seconds=40.0)
    assert compiled.total_seconds == record.total_seconds + 40


def test_turbo_counts_its_smaller_images_and_its_rare_evaluations() -> None:
    """8 epochs, 4 of them at 20 pixels and twice the speed; evaluated after the last."""
    record = bench_record("turbo", low_resolution=LowResolution(size=20, epochs=4, images_per_second=200.0))
    assert record.total_seconds == 5 + 4 * 300 + 4 * 150 + 100
    five = record.config.model_copy(update={"training": record.config.training.model_copy(update={"eval_every": 5})})
    assert bench_record("turbo", config=five).total_seconds == 5 + 8 * 300 + 2 * 100, "after 5, and after the last"


def test_a_line_of_json_holds_everything_and_reads_back(tmp_path: Path) -> None:
    record = bench_record(comparison=comparison(2.0, 2.5, 2.1))
    line = json.loads(record.to_json())
    assert line["comparison"]["ratio"] == {"median": 2.1, "low": 2.0, "high": 2.5}
    assert line["comparison"]["data_path_ratio"]["median"] == 21.0
    derived = ("flops_per_second", "ceiling_share", "epoch_seconds", "evaluation_seconds", "total_seconds")
    assert all(isinstance(line[key], float) for key in derived)
    file = tmp_path / "wrn.jsonl"
    file.write_text(record.to_json() + "\n" + bench_record("dpn").to_json() + "\n")
    assert read_records([file]) == [record, bench_record("dpn")]
    assert read_records([tmp_path]) == read_records([file])


@pytest.mark.parametrize(
    ("content", "said"), [("{}\n", "line 1: is no bench record: preset"), ("wrn 100\n", "line 1"), (b"\xff", "text")]
)
def test_a_file_that_holds_something_else(tmp_path: Path, content: str | bytes, said: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BenchFileError, match=said) as caught:
        read_records([file])
    assert "x.jsonl" in str(caught.value)


def test_an_empty_directory_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BenchFileError, match="holds no"):
        read_records([tmp_path])
    with pytest.raises(BenchFileError, match="no such file"):
        read_records([tmp_path / "wrn.jsonl"])


def test_the_cells_of_the_tables() -> None:
    record = bench_record(batch_size=64, comparison=comparison(2.0, 2.5, 2.1))
    (speed,) = speed_table([record]).rows
    assert speed == (
        *("wrn", "64 of 256", "100", "400", "2,560", "2,500 to 2,800", "12", "10.00", "1,000", "2,000", "50 %"),
    )
    (cost,) = cost_table([record]).rows
    assert cost == ("wrn", "5.0 s", "-", "3.00 GB", "5 m 0 s", "1 m 40 s", "200", "22 h 13 m")
    (compared,) = comparison_table([record]).rows
    assert compared[:7] == ("wrn", "64 of 256", "3", "105", "50.0", "2.10", "2.00 to 2.50")
    assert compared[7:] == ("105,000", "5,000", "21.0", "20.0 to 25.0")


def test_where_the_plain_loop_ran_and_the_data_paths_batch_are_said() -> None:
    """A record of before has neither field: it shared the trainer's process, and the data path had the batch set."""
    record = bench_record(comparison=comparison(2.0, 2.5, 2.1))
    assert "in a process of its own with torch's own settings" in text_of([record])
    assert not any("process" in said or "data path" in said for said in notes([record]))
    line = json.loads(record.to_json())
    del line["comparison"]["own_process"], line["comparison"]["data_batch_size"]
    line["config"]["training"]["batch_size"] = 32
    old = BenchRecord.model_validate(line)
    assert old.comparison is not None and old.comparison.ratio.median == 2.1
    assert not old.comparison.own_process and old.comparison.data_batch_size is None
    assert "in a process of its own" not in text_of([old, record])
    said = " ".join(notes([old]))
    assert "wrn: the plain loop shared our trainer's process" in said
    assert "wrn: the data path in batches of 32." in said


def text_of(records: list[BenchRecord]) -> str:
    return markdown.write(markdown_page(records))


def test_scaling_is_against_one_process_and_over_the_number_of_gpus() -> None:
    gpus = Scaling(batch_size=256, points=[scaling_point(1, 0.51, 0.5), scaling_point(4, 0.125, 0.4)])
    assert [point.speedup for point in gpus.points] == [0.5 / 0.51, 3.2], "each against what ran directly before it"
    assert gpus.points[1].efficiency == 0.8
    rows = scaling_table([bench_record(scaling=gpus), bench_record("dpn")]).rows
    assert rows == (
        ("wrn", "256", "1", "-", "20", "502", "512", "0.98", "98 %"),
        ("wrn", "256", "4", "-", "20", "2,048", "640", "3.20", "80 %"),
    )
    cores = Scaling(batch_size=64, points=[scaling_point(2, 0.5, 0.55, threads=1)])
    assert cores.points[0].efficiency is None, "the ranks share the cores of one CPU"
    (row,) = scaling_table([bench_record(scaling=cores)]).rows
    assert row == ("wrn", "64 of 256", "2", "1", "20", "128", "116", "1.10", "-")
    assert read_back(bench_record(scaling=gpus)).scaling == gpus
    text = markdown.write(markdown_page([bench_record(scaling=gpus)]))
    assert "| wrn | 256 | 4 |" in " ".join(text.split()) and "Efficiency: times as fast" in text


def read_back(record: BenchRecord) -> BenchRecord:
    return BenchRecord.model_validate_json(record.to_json())


def test_what_is_not_as_in_the_preset_is_said_plainly() -> None:
    (note,) = notes([bench_record(batch_size=64)])
    assert note.startswith("wrn: measured with batches of 64 instead of the preset's 256")
    said = notes(
        [bench_record(measured_with="sample"), bench_record("turbo", batch_size=500, comparison=comparison(1.0))]
    )
    assert "measured with the sample's images; times are for the preset's own 30,000" in said[0]
    assert "Muon" in said[1]
    assert notes([bench_record()]) == []


def test_each_machine_has_tables_of_its_own_and_the_page_names_the_commands() -> None:
    records = [bench_record(), bench_record("dpn", device_name="NVIDIA H200", device="cuda:0")]
    text = markdown.write(markdown_page(records))
    assert text.index("Some CPU, 2 threads; torch 2.14.1") < text.index("| wrn") < text.index("NVIDIA H200")
    assert "`fmnist-tui bench wrn`" in text
    assert "Plain loop" not in text, "nothing was compared"
    assert bench_report([]) == []


ARCHIVE, PAGE = ROOT / "benchmarks" / "cpu", ROOT / "docs" / "benchmarks-cpu.md"


def test_the_tables_in_the_docs_are_those_of_the_archive() -> None:
    """`fmnist-tui bench --from benchmarks/cpu --markdown` prints what stands in the page below its mark."""
    if not ARCHIVE.is_dir():
        pytest.skip("the archive is not part of the installed package")
    records = read_records([ARCHIVE])
    assert PAGE.read_text().partition("<!-- bench -->\n")[2].strip() == markdown.write(markdown_page(records)).strip()
    assert records and all(record.comparison and len(record.comparison.training) >= 3 for record in records)
