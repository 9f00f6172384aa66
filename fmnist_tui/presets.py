"""Find, load, validate and save presets: TOML files that hold a RunConfig.

Called by the command line, the app and the report. `./presets` and the user's own directory shadow the
shipped presets by name (see `paths.preset_dirs`).
"""

from __future__ import annotations

import difflib
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from fmnist_tui import paths
from fmnist_tui.config import ConfigError, FieldError, RunConfig, parse_config

PRESET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_PRESET_BYTES = 1_000_000


@dataclass(frozen=True)
class PresetFile:
    """A preset on disk: its name, where it lies and which kind of place that is."""

    name: str
    path: Path
    origin: str
    """'local' (./presets), 'user' or 'shipped'."""


def _origin(directory: Path) -> str:
    if directory == paths.shipped_presets_dir():
        return "shipped"
    return "user" if directory == paths.user_presets_dir() else "local"


def find_presets() -> dict[str, PresetFile]:
    """Every preset by name: the shipped ones in SHIPPED_ORDER, then others by name; shadowed ones are left out."""
    found: dict[str, PresetFile] = {}
    for directory in paths.preset_dirs():
        for path in sorted(directory.glob("*.toml")) if directory.is_dir() else []:
            if PRESET_NAME.fullmatch(path.stem):
                found.setdefault(path.stem, PresetFile(path.stem, path, _origin(directory)))
    order = {name: i for i, name in enumerate(SHIPPED_ORDER)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


SHIPPED_ORDER = ("quick", "turbo", "turbo-long", "wrn", "densenet", "dpn", "shake-shake-96", "shake-shake-64")
"""The order people see the shipped presets in: the cheap ones first, then the reference's."""


def load_preset(name: str) -> RunConfig:
    """The preset of this name.

    Raises ConfigError for a name that matches no preset, and for a file that is not a valid configuration.
    """
    presets = find_presets()
    if name not in presets:
        close = difflib.get_close_matches(name, presets, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else "the presets are"
        message = f"no preset of this name; {hint}" + ("" if close else f" {', '.join(presets)}")
        if name.endswith(".toml") or "/" in name:
            message += f"; for a file: fmnist-tui run config {name}"
        raise ConfigError([FieldError("preset", name, message)])
    return _named(load_file(presets[name].path), name)


def shipped_preset(name: str) -> RunConfig | None:
    """The preset as it came with the program, whatever shadows it; None where there is none of this name."""
    path = paths.shipped_presets_dir() / f"{name}.toml"
    if not PRESET_NAME.fullmatch(name) or not path.is_file():
        return None
    return _named(load_file(path), name)


def _named(config: RunConfig, name: str) -> RunConfig:
    """A preset answers to its file's name."""
    return config.model_copy(update={"preset": name})


def load_file(path: Path) -> RunConfig:
    """The configuration in a TOML file.

    Raises ConfigError, naming the file, where it is missing, a directory, too large, not UTF-8, not TOML,
    or not a valid configuration.
    """
    where = str(path)
    if path.is_dir():
        raise ConfigError([FieldError("", None, "is a directory; name a TOML file in it")], where)
    try:
        if path.stat().st_size > MAX_PRESET_BYTES:
            raise ConfigError([FieldError("", None, "is over 1 MB; a preset is a short TOML file")], where)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([FieldError("", None, "no such file")], where) from None
    except OSError as error:
        raise ConfigError([FieldError("", None, f"cannot be read: {error.strerror}")], where) from None
    except UnicodeDecodeError:
        raise ConfigError([FieldError("", None, "is not UTF-8 text; a preset is a TOML file")], where) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([FieldError("", None, f"is not valid TOML: {error}")], where) from None
    return parse_config(data, where)


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML text; `load_file` gives the same configuration back."""
    data: dict[str, Any] = config.model_dump(exclude_none=True, exclude={"preset"})
    return tomli_w.dumps(data)


def save_preset(config: RunConfig, name: str, overwrite: bool = False) -> Path:
    """Save a configuration as a preset of the user's own and return its path.

    Raises ConfigError for a name that is not letters, digits, '-' and '_', or one that is taken.
    """
    if not PRESET_NAME.fullmatch(name):
        raise ConfigError(
            [
                FieldError(
                    "preset",
                    name,
                    "a preset's name is 1 to 64 letters, digits, '-' and '_', not starting with '-' or '_'",
                )
            ]
        )
    path = paths.user_presets_dir() / f"{name}.toml"
    if path.exists() and not overwrite:
        raise ConfigError([FieldError("preset", name, f"exists already ({path}); choose another name")])
    path.parent.mkdir(parents=True, exist_ok=True)
    text = to_toml(config.model_copy(update={"name": name}))
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(path)
    return path
