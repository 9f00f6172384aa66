"""What the parser refuses, in our words: a command, option or argument it does not know, or that lacks a value.

Called by `output.report_error`. The parser knows the commands and options of one command only; whoever is new here
names a preset where a command belongs, a command without its group, or a field as if it were an option.
"""

from __future__ import annotations

import re
from typing import Any

from fmnist_tui.console.output import print_error, say

PROGRAM = "fmnist-tui"


def report_usage(error: Exception) -> int:
    """Print what is wrong with a command line, what was likely meant and where to read on; return the exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:  # Typer has printed the help by now
        print_error(f"{context.command_path}: which command? They are listed in its help")
        return 2
    message = str(error.format_message()).replace("Value error, ", "")  # type: ignore[attr-defined]
    message = re.sub(r"\s*\n\s*", " ", _with_nearest_choice(message))  # choices, which Typer lists one a line
    if context is not None:
        message = _with_option_meant(_with_command_meant(message, context), context)
    print_error(message[:1].lower() + message[1:])
    if context is not None:
        say(f"see: {context.command_path} --help")
    return 2


def _with_nearest_choice(message: str) -> str:
    """The parser's "'presets' is not one of 'preset', 'seed'." with the choice that was likely meant."""
    from fmnist_tui.wording import nearest

    found = re.search(r"'([^']*)' is not one of ((?:'[^']*'(?:, )?)+)", message)
    near = nearest(found[1], re.findall(r"'([^']*)'", found[2])) if found else ""
    return f"{message.rstrip('.')}; did you mean {near}?" if near else message


def _with_command_meant(message: str, context: Any) -> str:
    """The parser's "No such command 'watch'." with the commands that were likely meant."""
    found = re.fullmatch(r"(No such command '(.*?)')\.(?: Did you mean (.*)\?)?", message, re.DOTALL)
    if not found:
        return message
    near = [f"{context.command_path} {name}" for name in re.findall(r"'([^']*)'", found[3] or "")]
    meant = [*_commands_named(found[2], context), *near]
    return f"{found[1]}; did you mean {' or '.join(meant)}?" if meant else f"{found[1]}."


def _commands_named(word: str, context: Any) -> list[str]:
    """The whole commands that a word stands for which is no command where it was typed."""
    from fmnist_tui.presets import find_presets

    root = context.find_root().command
    groups = {name: getattr(command, "commands", {}) for name, command in root.commands.items()}
    named = [f"{PROGRAM} {group} {word}" for group, commands in groups.items() if word in commands]
    if word in find_presets():
        named.append(f"{PROGRAM} run preset {word}")
    if word.endswith(".toml"):
        named.append(f"{PROGRAM} run config {word}")
    if word == "train":
        named.append(f"{PROGRAM} run")
    return named


def _with_option_meant(message: str, context: Any) -> str:
    """The parser's "No such option: --lr (Possible options: --help)" with the option, or the field, likely meant."""
    found = re.fullmatch(r"(No such option: --(.*?))(?: \(Possible options: (.*)\))?", message, re.DOTALL)
    if not found:
        return message
    meant = found[3] or ""
    if any(getattr(parameter, "metavar", "") == "KEY=VALUE" for parameter in context.command.params):
        fields = _fields_named(found[2].replace("-", "_"), near=not meant)
        meant = " or ".join(f"--set {key}=VALUE" for key in fields) or meant
    return f"{found[1]}; did you mean {meant}?" if meant else found[1]


def _fields_named(name: str, near: bool) -> list[str]:
    """The fields of a configuration whose last part is this name or, with `near`, the one nearest to it."""
    from fmnist_tui.config import MODEL_KINDS
    from fmnist_tui.fields import fields_of
    from fmnist_tui.wording import nearest

    keys = list(dict.fromkeys(spec.key for kind in MODEL_KINDS for spec in fields_of(kind)))
    last = {key: key.rpartition(".")[2] for key in keys}
    if near:
        name = nearest(name, list(last.values()))
    return [key for key in keys if last[key] == name]
