"""The tables of the benchmark report and the words around them, as blocks of plain text."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_tui import presets
from fmnist_tui.fields import exact
from fmnist_tui.report import describe
from fmnist_tui.report.blocks import Block, Code, Column, Heading, Items, Paragraph, Table
from fmnist_tui.report.finished import FinishedRun
from fmnist_tui.report.rows import GROUPINGS, Benchmarks, Row, Spread
from fmnist_tui.report.sweeps import sweep_blocks
from fmnist_tui.report.words import duration, energy, images, percent, signed, speed

VARIOUS = "various"
"""What a cell says where the runs of a row differ."""
NOTHING = "-"
"""What a cell without a value says."""

HEADLINE = (
    Column("Model Name"),
    Column("# of Parameters", True),
    Column("Accuracy (Prec@1)", True),
    Column("time", True),
    Column("# of Epochs", True),
)
"""The reference's own columns in its own words."""
MEASURED = (
    Column("Best (epoch)", True),
    Column("Images/s", True),
    Column("Device"),
    Column("Precision"),
    Column("Data and split"),
    Column("Runs", True),
)
AVERAGED = (Column("With flip averaging", True),)
"""Test-time averaging's own column, where a row has it."""
ENERGY = (Column("Energy", True),)
"""By the GPU's own counter, where a row has it."""
COMPARED = (
    Column("Reference", True),
    Column("Best - reference", True),
    Column("Final - reference", True),
)
SAID = (Column("Preset"), Column("Notes"))
RECIPE = (
    Column("Preset"),
    Column("Network"),
    Column("Optimizer"),
    Column("Learning rate", True),
    Column("Schedule"),
    Column("Weight decay", True),
    Column("Batch size", True),
    Column("Epochs", True),
    Column("Augmentation"),
    Column("Seeds"),
)

LEGEND = (
    "Finished runs only. Accuracy is the test accuracy in % after the last epoch; best is the highest over the "
    "evaluated epochs, which is what the reference reports, so best - reference compares like with like. Time is "
    "measured: all that a run was at work, from loading the data to saving the result; energy is what its GPU's own "
    "counter says, where it has one, other programs on that GPU included."
)
PUBLISHED = (
    "The reference's rows as published: custom split, one GTX 1080 Ti, 2018. The accuracy is the best over all "
    "epochs, the times are its author's estimates, the speed is computed from its logs."
)


def report(benchmarks: Benchmarks) -> list[Block]:
    """The whole report: the tables, the results to beat, the hyperparameters, and what was left out."""
    rows = benchmarks.rows
    opening = Paragraph.of(LEGEND, GROUPINGS[benchmarks.by]) if rows else _without_rows(benchmarks)
    held_out = [row for row in rows if row.first.result.hold_out]
    rows = [row for row in rows if not row.first.result.hold_out]
    full = [row for row in rows if row.first.result.data_source == "full"]
    custom = [row for row in full if row.first.result.split == "custom"]
    standard = [row for row in full if row.first.result.split == "standard"]
    sample = [row for row in rows if row.first.result.data_source == "sample"]
    blocks: list[Block] = [Heading("Fashion-MNIST benchmarks", 1), opening]
    if custom:
        blocks += [Heading("Full data, custom split", 2), results_table(custom, compared=True)]
    if standard:
        blocks += [Heading("Full data, standard split", 2), results_table(standard)]
    if sample:
        what = "Runs on the small sample that is shipped with the program, for trying things."
        blocks += [Heading("Sample data", 2), Paragraph.of(what), results_table(sample)]
    if held_out:
        what = (
            "Tested on training images that were held out (data.hold_out), not on a test image: to choose "
            "hyperparameters by, comparable with nothing above. Folds share a row."
        )
        blocks += [Heading("Held-out training images", 2), Paragraph.of(what), results_table(held_out)]
    blocks += [Heading("The results to beat", 2), Paragraph.of(PUBLISHED), published_table()]
    if ordered := custom + standard + sample + held_out:
        blocks += [Heading("Hyperparameters", 2), hyperparameter_table(ordered)]
    blocks += sweep_blocks(benchmarks.runs)
    if benchmarks.skipped:
        told = tuple(f"Run {run_id}: {why}" for run_id, why in benchmarks.skipped)
        blocks += [Heading("Left out", 2), Paragraph.of("Runs that have finished, but have no row:"), Items(told)]
    return blocks


def _without_rows(benchmarks: Benchmarks) -> Paragraph:
    """Why there is no run to show."""
    named = len(benchmarks.only)
    if unreadable := len(benchmarks.skipped):
        which = "that of a run" if unreadable == 1 else f"those of {unreadable:,} runs"
        said = f"No result can be shown: {which} can't be read, for the reason below under Left out."
        if unreadable < named:
            said += " The others named have not finished."
        return Paragraph.of(said)
    if named:
        said = "The run named has not finished" if named == 1 else "None of the runs named has finished"
        return Paragraph.of(f"{said}; the tables hold finished runs only.")
    start = Code("fmnist-tui run preset quick")
    return Paragraph.of("No run has finished yet. This one takes a minute or two:", start)


def results_table(rows: list[Row], compared: bool = False) -> Table:
    """One line a row; with the reference's columns where the table may be `compared` with it."""
    averaged = any(row.tta_accuracy for row in rows)
    counted = any(row.energy_joules for row in rows)
    optional = (AVERAGED if averaged else ()) + (ENERGY if counted else ()) + (COMPARED if compared else ())
    columns = HEADLINE + MEASURED + optional + SAID
    cells = tuple(
        headline(row)
        + _measured(row)
        + (_averaged(row) if averaged else ())
        + (_energy(row) if counted else ())
        + (_compared(row) if compared else ())
        + (row.first.label, notes(row))
        for row in rows
    )
    return Table(columns, cells)


def headline(row: Row) -> tuple[str, ...]:
    """The cells below HEADLINE."""
    parameters = row.common(lambda run: run.result.parameters)
    return (
        model_name(row),
        VARIOUS if parameters is None else f"{parameters:,}",
        _accuracy(row),
        duration(row.spread("total_seconds").mean),
        between(row.epochs),
    )


def _measured(row: Row) -> tuple[str, ...]:
    runs = str(len(row.runs))
    if len(row.seeds) < len(row.runs):
        runs += f" ({len(row.seeds)} seed{'s' if len(row.seeds) > 1 else ''})"
    return (
        f"{spread_text(row.spread('best_accuracy'))} ({between(row.best_epochs)})",
        speed(row.spread("images_per_second").mean),
        row.common(device) or VARIOUS,
        row.common(precision) or VARIOUS,
        data(row.first),
        runs,
    )


def _averaged(row: Row) -> tuple[str, ...]:
    measured = sum(run.result.tta_accuracy is not None for run in row.runs)
    return (NOTHING if row.tta_accuracy is None else spread_text(row.tta_accuracy) + _of_fewer(row, measured),)


def _energy(row: Row) -> tuple[str, ...]:
    counted = sum(run.result.energy_joules is not None for run in row.runs)
    return (NOTHING if row.energy_joules is None else energy(row.energy_joules.mean) + _of_fewer(row, counted),)


def _of_fewer(row: Row, number: int) -> str:
    """Of how many runs a mean is, where it is not of all."""
    return "" if number == len(row.runs) else f" ({number} of {len(row.runs)})"


def _compared(row: Row) -> tuple[str, ...]:
    reference = row.common(lambda run: run.reference)
    best, final = row.above_reference("best_accuracy"), row.above_reference("test_accuracy")
    if reference is None or best is None or final is None:
        return (NOTHING, NOTHING, NOTHING)
    return (percent(reference.accuracy), signed(best), signed(final))


def _accuracy(row: Row) -> str:
    """'94.81 ± 0.12'; in a row of another grouping than the usual with the number of runs: '94.81 ± 0.12 (3)'."""
    return spread_text(row.spread("test_accuracy")) + (f" ({len(row.runs)})" if row.by != "settings" else "")


def spread_text(spread: Spread) -> str:
    """'94.81 ± 0.12', or of a single run '94.81'."""
    return percent(spread.mean) + ("" if spread.sd is None else f" ± {percent(spread.sd)}")


def between(numbers: Sequence[int]) -> str:
    """Ascending numbers as '200', or from the first to the last: '20-200'."""
    first, last = numbers[0], numbers[-1]
    return f"{first:,}" if first == last else f"{first:,}-{last:,}"


def model_name(row: Row) -> str:
    """The network's name; of several different ones that."""
    return row.common(lambda run: run.model_name) or VARIOUS


def device(run: FinishedRun) -> str:
    """'NVIDIA H200', '2 x NVIDIA H200'."""
    return run.result.devices_named


def precision(run: FinishedRun) -> str:
    """'bf16, compiled'."""
    result = run.result
    said = [result.precision, *([] if result.compile == "off" else ["compiled"])]
    return ", ".join(said + (["deterministic"] if result.deterministic else []))


def data(run: FinishedRun) -> str:
    """'full, custom (30,000 / 40,000)': source, split, training and test images."""
    return images(run.result)


def notes(row: Row) -> str:
    """The seed of a row of one seed, and its remarks; NOTHING where there is nothing to say."""
    seed = [f"seed {row.first.result.seed}"] if row.by == "seed" else []
    return "; ".join([*seed, *remarks(row)]) or NOTHING


def remarks(row: Row) -> list[str]:
    """What sets a row apart from its preset as shipped."""
    run = row.first
    said = []
    if row.by == "settings" and len(row.seeds) < len(row.runs):  # which may well be the same run several times
        said.append(f"{len(row.runs)} runs of {len(row.seeds)} seed" + ("s" if len(row.seeds) > 1 else ""))
    if resumed := sum(each.resumed is not None for each in row.runs):
        said.append("earlier result: resumed since" + (f" ({resumed} of {len(row.runs)})" if len(row.runs) > 1 else ""))
    if not run.result.complete:  # then none of the row's is
        steps = sorted({each.result.steps for each in row.runs})
        said.append(f"stopped at {' to '.join(f'{n:,}' for n in dict.fromkeys((steps[0], steps[-1])))} steps")
    if row.settings > 1:
        return [*said, f"{row.settings} different settings"]
    if changed := describe.changes(run.changed):
        said.append(f"changed: {changed}")
    said += {"own": ["own preset"], "none": ["own configuration"]}.get(run.origin, [])
    if run.micro_batch is not None:
        said.append(f"micro-batches of {run.micro_batch:,}")
    if run.config.training.eval_every > 1:
        said.append(f"evaluated every {run.config.training.eval_every:,} epochs")
    return said


def published_table() -> Table:
    """The reference's own rows, from the shipped presets."""
    shipped = [presets.shipped_preset(name) for name in presets.SHIPPED_ORDER]
    cells = tuple(
        (
            reference.model_name,
            f"{reference.parameters:,}",
            str(reference.accuracy),
            reference.time,
            f"{reference.epochs:,}",
            NOTHING if reference.images_per_second is None else speed(reference.images_per_second),
        )
        for reference in (preset.reference for preset in shipped if preset)
        if reference
    )
    return Table((*HEADLINE, Column("Images/s", True)), cells)


def hyperparameter_table(rows: list[Row]) -> Table:
    """One line for each configuration of the rows, whatever it ran on, with all its seeds."""
    seeds: dict[tuple[str, ...], set[int]] = {}
    for row in rows:
        for run in row.runs:
            seeds.setdefault(_recipe(run), set()).add(run.result.seed)
    return Table(RECIPE, tuple((*cells, ", ".join(map(str, sorted(found)))) for cells, found in seeds.items()))


def _recipe(run: FinishedRun) -> tuple[str, ...]:
    """The cells below RECIPE but for the seeds."""
    config = run.config
    return (
        run.label,
        describe.network(config.model),
        describe.optimizer(config.optimizer),
        exact(config.optimizer.lr),
        describe.schedule(config.schedule),
        exact(config.optimizer.weight_decay),
        f"{config.training.batch_size:,}",
        f"{run.hyperparameters['training.epochs']:,}",
        describe.augmentation(config.augment),
    )
