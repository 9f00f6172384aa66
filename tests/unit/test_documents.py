"""README and docs hold together: links lead somewhere, and the commands they show are ones the program has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from fmnist_tui.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)$")
PROGRAM = "fmnist-tui"

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="documents are not part of the installed package")


def anchors_of(file: Path) -> set[str]:
    """What GitHub makes of a document's headings."""
    found = set()
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            words = line.lstrip("#").strip().lower().replace("`", "")
            found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


def commands_of(file: Path) -> list[list[str]]:
    """The words of each call of the program: lines of a document's shell blocks, and what stands between backticks."""
    text, found, shell = file.read_text(), list[str](), False
    prose = []
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence:
            shell = not shell and fence[1] in ("sh", "console")
        elif shell:
            found.append(line)
        else:
            prose.append(line)
    found += re.findall(r"`([^`]+)`", re.sub(r"\n(?!\n)", " ", "\n".join(prose)))
    calls = []
    for line in found:
        for part in re.split(r"&&|\|(?= )", line):
            try:
                words = shlex.split(part.removeprefix("$ "), comments=True)
            except ValueError:  # a word of prose with an apostrophe
                continue
            while words and re.match(r"[A-Z_]+=", words[0]):
                del words[0]
            if words and Path(words[0]).name == PROGRAM:
                calls.append(words[1:])
    return calls


def unknown(words: list[str]) -> str | None:
    """The first word that is neither a command where one is wanted nor an option that its command has."""
    command: Any = typer.main.get_command(app)
    value = False
    for word in words:
        if value:
            value = False
        elif re.match(r"--?[a-zA-Z]", word):
            name, equals, _ = word.partition("=")
            options = {
                opt: parameter for parameter in command.params for opt in parameter.opts + parameter.secondary_opts
            }
            if name not in {*options, "--help", "-h"}:
                return word
            value = not equals and name in options and not options[name].is_flag
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return word
            command = command.commands[word]
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_ones_there_are(document: Path) -> None:
    wrong = {" ".join(words): word for words in commands_of(document) if (word := unknown(words)) is not None}
    assert not wrong


def test_wrong_commands_would_be_found() -> None:
    assert unknown(["run", "preset", "wrn", "--epoch", "3"]) == "--epoch"
    assert unknown(["runs", "list", "--group", "x"]) is None
    assert sum(len(commands_of(document)) for document in DOCUMENTS) > 60
