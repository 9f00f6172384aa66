"""What the command line says of a run that has just finished: its table row and two sentences."""

from __future__ import annotations

from fmnist_tui.config import RunConfig
from fmnist_tui.report import markdown
from fmnist_tui.report.blocks import Block, Paragraph, Table
from fmnist_tui.report.finished import finished_run
from fmnist_tui.report.rows import Row
from fmnist_tui.report.tables import HEADLINE, NOTHING, data, device, headline, notes, precision
from fmnist_tui.report.words import percent, signed, speed
from fmnist_tui.runs.result import Result


def summary_row(result: Result, config: RunConfig) -> str:
    """A run's row in the reference's columns, as Markdown that fits most terminals, with what else matters below."""
    run = finished_run(result, config)
    row = Row((run,))
    measured = (
        f"Best {percent(result.best_accuracy)} % in epoch {result.best_epoch:,}; "
        f"{speed(result.images_per_second)} images/s on {device(run)}, {precision(run)}; {data(run)} images."
    )
    blocks: list[Block] = [Table(HEADLINE, (headline(row),)), Paragraph.of(measured)]
    best, final = row.above_reference("best_accuracy"), row.above_reference("test_accuracy")
    if run.reference is not None and best is not None and final is not None:
        compared = (
            f"The reference's best over epochs is {percent(run.reference.accuracy)} %: "
            f"this run's best is {signed(best)} from it, its last epoch {signed(final)}."
        )
        blocks.append(Paragraph.of(compared))
    if (said := notes(row)) != NOTHING:
        blocks.append(Paragraph.of(f"{said[:1].upper()}{said[1:]}."))
    return markdown.write(blocks)
