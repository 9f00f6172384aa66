"""Find, load, validate and save presets: TOML files that hold a RunConfig.

Called by the command line, the app and the report. `./presets` and the user's own directory shadow the
shipped presets by name (see `paths.preset_dirs`); a copy that says the same shadows nothing, as the ./presets of a
checkout beside an installed program.
"""

from __future__ import annotations

import contextlib
import difflib
import filecmp
import os
import re
import shlex
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from fmnist_tui import paths
from fmnist_tui.config import SECTIONS, ConfigError, FieldError, RunConfig, parse_config
from fmnist_tui.fields import FieldSpec, fields_of

PRESET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME_RULE = "1 to 64 of a to z, A to Z, digits, '-' and '_', not starting with '-' or '_'"
MAX_PRESET_BYTES = 1_000_000
COMMENT_WIDTH = 98


@dataclass(frozen=True)
class PresetFile:
    """A preset on disk: its name, where it lies and which kind of place that is."""

    name: str
    path: Path
    origin: str
    """'local' (./presets), 'user' or 'shipped'."""


def origin(directory: Path) -> str:
    """Which kind of place one of `paths.preset_dirs` is; in a checkout ./presets are the shipped ones."""
    if directory == paths.shipped_presets_dir():
        return "shipped"
    return "user" if directory == paths.user_presets_dir() else "local"


def find_presets() -> dict[str, PresetFile]:
    """Every preset by name: the shipped ones in SHIPPED_ORDER, then others by name; shadowed ones are left out."""
    found: dict[str, PresetFile] = {}
    for directory in paths.preset_dirs():
        for path in _toml_files(directory):
            if PRESET_NAME.fullmatch(path.stem) and not _is_copy(path):
                found.setdefault(path.stem, PresetFile(path.stem, path, origin(directory)))
    order = {name: i for i, name in enumerate(SHIPPED_ORDER)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def _is_copy(path: Path) -> bool:
    """Whether a file is a shipped preset, byte for byte, in another place."""
    shipped = paths.shipped_presets_dir() / path.name
    if path == shipped:
        return False
    try:
        return filecmp.cmp(path, shipped, shallow=False)
    except OSError:  # there is no such shipped one, or it may not be read
        return False


def misnamed() -> list[Path]:
    """The files that lie among the presets and are none, for their names."""
    files = (path for directory in paths.preset_dirs() for path in _toml_files(directory))
    return [path for path in files if not PRESET_NAME.fullmatch(path.stem)]


def _toml_files(directory: Path) -> list[Path]:
    """The TOML files of a directory by name; none where it is missing, a file or closed to this user."""
    try:
        return sorted(directory.glob("*.toml"))
    except OSError:
        return []


SHIPPED_ORDER = ("quick", "turbo", "turbo-long", "wrn", "densenet", "dpn", "shake-shake-96", "shake-shake-64")
"""The order people see the shipped presets in: the cheap ones first, then the reference's."""


def load_preset(name: str) -> RunConfig:
    """The preset of this name.

    Raises ConfigError for a name that matches no preset, and for a file that is not a valid configuration.
    """
    presets = find_presets()
    if name not in presets:
        raise ConfigError([FieldError("preset", name, _why_missing(name, list(presets)))])
    return _named(load_file(presets[name].path), name)


def _why_missing(name: str, presets: list[str]) -> str:
    """That there is no such preset, and which was likely meant."""
    for path in misnamed():
        if path.stem == name:
            as_file = shlex.join(["fmnist-tui", "run", "config", str(path)])
            return f"no preset of this name; a name is {NAME_RULE}; rename {path}, or: {as_file}"
    is_path = name.endswith(".toml") or "/" in name
    close = [] if is_path else difflib.get_close_matches(name, presets, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]}?" if close else f"the presets are {', '.join(presets)}"
    return f"no preset of this name; {hint}" + (f"; for a file: fmnist-tui run config {name}" if is_path else "")


def shipped_preset(name: str) -> RunConfig | None:
    """The preset as it came with the program, whatever shadows it; None where there is none of this name."""
    path = paths.shipped_presets_dir() / f"{name}.toml"
    if not PRESET_NAME.fullmatch(name) or not path.is_file():
        return None
    return _named(load_file(path), name)


def _named(config: RunConfig, name: str) -> RunConfig:
    """A preset answers to its file's name; so does a run of it, where the file gives no other."""
    named = {"preset": name} if "name" in config.model_fields_set else {"preset": name, "name": name}
    return config.model_copy(update=named)


def load_file(path: Path) -> RunConfig:
    """The configuration in a TOML file.

    Raises ConfigError, naming the file, where it is missing, a directory, too large, not UTF-8, not TOML,
    or not a valid configuration.
    """
    where = str(path)
    text = _read_text(path)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits, and lists in lists
        raise ConfigError([FieldError("", None, f"is not valid TOML: {error}")], where) from None
    return parse_config(data, where)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:  # a bounded read: a pipe or a device tells no size before
            data = file.read(MAX_PRESET_BYTES + 1)
        if len(data) <= MAX_PRESET_BYTES:
            return data.decode("utf-8-sig")
        message = "is over 1 MB; a preset is a short TOML file"
    except FileNotFoundError:
        message = "no such file" + _meant_instead(path)
    except IsADirectoryError:
        message = "is a directory; name a TOML file in it"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        message = "is not UTF-8 text; a preset is a TOML file"
    except ValueError:  # a NUL in the path
        message = "is not a path"
    raise ConfigError([FieldError("", None, message)], str(path))


def _meant_instead(path: Path) -> str:
    """What was likely meant by a path that leads nowhere: a preset's name, or a TOML file beside it; '' for neither."""
    if str(path) in find_presets():
        return f"; {path} is a preset: fmnist-tui run preset {path}"
    beside = {file.name: file for file in _toml_files(path.parent)}
    close = difflib.get_close_matches(path.name, beside, n=1)
    return f"; did you mean {beside[close[0]]}?" if close else ""


def to_toml(config: RunConfig, explain: bool = False) -> str:
    """The configuration as TOML text; `load_file` gives the same configuration back, but for `preset` and `group`.

    With `explain` comments say of every field what it means, its unit and what it may be, also of those not set.
    """
    data: dict[str, Any] = config.model_dump(exclude_none=True, exclude={"preset", "group"})
    if not explain:
        return tomli_w.dumps(data)
    parts = []
    section = ""
    for spec in fields_of(config.model.kind):
        head, _, name = spec.key.rpartition(".")
        if head != section:
            parts.append(f"[{head}]\n")
            section = head
        values = data[head] if head else data
        value = tomli_w.dumps({name: values[name]}) if name in values else f"# {name} is not set\n"
        parts.append(f"{_comment(spec, name)}{value}")
    rest = {key: value for key, value in data.items() if key not in ("name", "description", "seed", *SECTIONS)}
    return "\n".join([*parts, tomli_w.dumps(rest)] if rest else parts)


def _comment(spec: FieldSpec, name: str) -> str:
    """What the field means, and in lines of their own its unit, its bounds and its choices."""
    unit = "" if spec.unit == "x" else spec.unit
    bounds = re.sub(r"\bx\b", name, spec.bounds)
    words = ", ".join(spec.choices)
    choices = words and (f"or {words}" if spec.bounds else f"one of {words}")
    lines = textwrap.wrap(spec.help, COMMENT_WIDTH) + textwrap.wrap("; ".join(filter(None, (unit, bounds, choices))))
    return "".join(f"# {line}\n" for line in lines)


def save_preset(config: RunConfig, name: str, overwrite: bool = False) -> Path:
    """Save a configuration as a preset of the user's own and return its path.

    Raises ConfigError for a name that is not letters, digits, '-' and '_', or one that is taken, and where the
    file can't be written; an older preset of the name is then as it was.
    """
    if not PRESET_NAME.fullmatch(name):
        raise ConfigError([FieldError("preset", name, f"a preset's name is {NAME_RULE}")])
    path = paths.user_presets_dir() / f"{name}.toml"
    found = find_presets().get(name)
    if found and found.origin == "local" and found.path != path:
        message = f"{found.path} would be taken in its place; choose another name"
        raise ConfigError([FieldError("preset", name, message)])
    try:
        if path.exists() and not overwrite:
            raise ConfigError([FieldError("preset", name, f"exists already ({path}); choose another name")])
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace_text(path, to_toml(config.model_copy(update={"name": name})))
    except OSError as error:
        message = f"cannot be saved as {path}: {error.strerror}"
        raise ConfigError([FieldError("preset", name, message)]) from None
    return path


def _replace_text(path: Path, text: str) -> None:
    """Write a file in one step: its old content or the new, and nothing beside it where that fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
