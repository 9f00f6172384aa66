"""`fmnist-tui presets list|show|validate|path`. Registered by `cli`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_tui.console import options as o

if TYPE_CHECKING:
    from rich.text import Text

    from fmnist_tui.config import RunConfig
    from fmnist_tui.console.fitted import FittedTable
    from fmnist_tui.presets import PresetFile

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_command(json: o.JsonOption = False) -> int:
    """List the presets: those shipped, your own, and those in ./presets."""
    from fmnist_tui.console.output import console, print_json, say
    from fmnist_tui.presets import NAME_RULE, find_presets, misnamed

    found = [_load(preset) for preset in find_presets().values()]
    if json:
        for preset, config, problem in found:
            print_json(_preset_object(preset, config, problem))
        return 0
    console().print(_presets_table(found))
    for preset, _, problem in found:
        if problem:
            say(f"{preset.name}: {problem}")
    for path in misnamed():
        say(f"Left out: {path}: a preset's name is {NAME_RULE}; rename it, or: fmnist-tui run config FILE")
    return 0


def _load(preset: PresetFile) -> tuple[PresetFile, RunConfig | None, str]:
    """A preset with its configuration, or with what is wrong with it."""
    from fmnist_tui.config import ConfigError
    from fmnist_tui.presets import load_file

    try:
        return preset, load_file(preset.path), ""
    except ConfigError as error:
        return preset, None, str(error)


def _preset_object(preset: PresetFile, config: RunConfig | None, problem: str) -> dict[str, Any]:
    from fmnist_tui.models.count import parameter_count

    return {
        "name": preset.name,
        "description": config.description if config else None,
        "model": config.model.kind if config else None,
        "parameters": parameter_count(config.model) if config else None,
        "epochs": config.training.epochs if config else None,
        "data_source": config.data.source if config else None,
        "origin": preset.origin,
        "path": str(preset.path),
        "problem": problem,
    }


def _presets_table(found: list[tuple[PresetFile, RunConfig | None, str]]) -> FittedTable:
    """The presets. The model family is left out first: the description tells it in other words."""
    from rich.text import Text

    from fmnist_tui.console.fitted import Column, FittedTable
    from fmnist_tui.models.count import parameter_count

    columns = (
        Column("preset"),
        Column("parameters", 1, right=True),
        Column("epochs", 2, right=True),
        Column("from", 4),
        Column("model", 5),
        Column("description", 3, folds=True, least=24),
    )
    rows: list[list[str | Text]] = []
    for preset, config, _ in found:
        name = Text(preset.name, style="bold")
        if config is None:
            rows.append([name, "", "", preset.origin, "", Text("not valid, see below", style="red")])
            continue
        size, epochs = f"{parameter_count(config.model):,}", f"{config.training.epochs:,}"
        rows.append([name, size, epochs, preset.origin, config.model.kind, config.description])
    return FittedTable(columns, rows, says=False)


@app.command("show")
def show_command(
    name: o.PresetArgument,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Say of every field what it means, its unit and what it may be, also of those not set.",
            show_default=False,
        ),
    ] = False,
    json: o.JsonOption = False,
) -> int:
    """Print a preset as TOML, with every field that has a value; the beginning of one of your own.

    --explain writes what it says as comments, which a file of your own may keep; with --json it prints an object a
    field.
    """
    from fmnist_tui.console.output import as_json, print_json
    from fmnist_tui.fields import fields_of, flatten
    from fmnist_tui.presets import load_preset, to_toml

    config = load_preset(name)
    if json and explain:
        values = {"name": config.name, "description": config.description, **flatten(config)}
        for spec in fields_of(config.model.kind):
            said = {"help": spec.help, "unit": spec.unit, "bounds": spec.bounds, "choices": list(spec.choices)}
            print_json({"field": spec.key, "value": values[spec.key], **said})
    elif json:
        print_json(as_json(config))
    else:
        print(to_toml(config, explain), end="")
    return 0


@app.command("validate")
def validate_command(
    file: o.FileArgument,
    json: o.JsonOption = False,
) -> int:
    """Check a TOML file without training it. Exit code 0 where it is valid, 2 where it is not."""
    from fmnist_tui.config import ConfigError
    from fmnist_tui.console.output import as_json, plain_value, print_json, print_line, print_notes
    from fmnist_tui.fields import notes
    from fmnist_tui.models.count import parameter_count
    from fmnist_tui.presets import load_file

    try:
        config = load_file(file)
    except ConfigError as error:
        if not json:
            raise
        wrong = [{"field": e.field, "value": plain_value(e.value), "message": e.message} for e in error.errors]
        print_json({"file": str(file), "valid": False, "errors": wrong})
        return 2
    if json:
        print_json({"file": str(file), "valid": True, "notes": notes(config), "config": as_json(config)})
        return 0
    print_line(f"{file}: valid; {config.model.kind} with {parameter_count(config.model):,} parameters")
    print_notes(notes(config))
    return 0


@app.command("path")
def path_command(json: o.JsonOption = False) -> int:
    """Print the directories presets are read from; the first that has a name wins."""
    from fmnist_tui import paths
    from fmnist_tui.console.output import print_json, print_line
    from fmnist_tui.presets import origin

    for directory in paths.preset_dirs():
        if json:
            print_json({"origin": origin(directory), "path": str(directory), "exists": directory.is_dir()})
        else:
            print_line(directory)
    return 0
