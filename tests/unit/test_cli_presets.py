"""`presets list|show|validate|path` through `main` in this process, and presets as TOML that explains itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_tui import paths
from fmnist_tui.cli import main
from fmnist_tui.config import parse_config
from fmnist_tui.fields import fields_of, flatten, with_changes
from fmnist_tui.presets import find_presets, load_file, load_preset, to_toml
from tests.printed import json_lines


def test_presets_list(capsys: pytest.CaptureFixture[str]) -> None:
    own = paths.user_presets_dir() / "mine.toml"
    own.parent.mkdir(parents=True)
    own.write_text(to_toml(load_preset("quick")))
    Path("presets").mkdir()
    Path("presets/wrn.toml").write_text("[model]\nkind = 'wide'\n")
    assert main(["presets", "list"]) == 0
    captured = capsys.readouterr()
    rows = {line.split()[0]: line for line in captured.out.splitlines()}
    assert "36,478,906" not in captured.out, "a preset in ./presets shadows the shipped one"
    assert "local" in rows["wrn"] and "not valid" in rows["wrn"]
    assert "wrn: " in captured.err and "model.kind = 'wide'" in captured.err
    assert "user" in rows["mine"] and "303,418" in rows["mine"]
    assert "shipped" in rows["densenet"] and "768,730" in rows["densenet"]
    odd = Path("presets/my net ü.toml")
    odd.write_text(to_toml(load_preset("dpn")))
    assert main(["presets", "list"]) == 0
    listed, said = capsys.readouterr()
    assert "my net" not in listed and f"Left out: {odd.absolute()}: a preset's name is 1 to 64 of a to z" in said
    assert main(["presets", "list", "--json"]) == 0
    objects = {item["name"]: item for item in json_lines(capsys.readouterr().out)}
    assert objects["dpn"]["parameters"] == 47_751_450 and objects["dpn"]["origin"] == "shipped"
    assert objects["wrn"]["parameters"] is None and "model.kind" in objects["wrn"]["problem"]


def test_a_shown_preset_is_the_beginning_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "show", "densenet"]) == 0
    Path("mine.toml").write_text(capsys.readouterr().out)
    assert main(["presets", "validate", "mine.toml"]) == 0
    assert "densenet with 768,730 parameters" in capsys.readouterr().out
    assert main(["presets", "show", "densenet", "--explain", "--json"]) == 0
    said = {line["field"]: line for line in json_lines(capsys.readouterr().out)}
    assert set(said) == {spec.key for spec in fields_of("densenet")}
    assert said["optimizer.lr"] == {
        "field": "optimizer.lr",
        "value": 0.1,
        "help": "Initial learning rate (muon: of the filters); the schedule scales it.",
        "unit": "lr",
        "bounds": "0 < x <= 100",
        "choices": [],
    }
    assert said["training.max_steps"]["value"] is None and said["data.split"]["choices"] == ["custom", "standard"]
    assert main(["presets", "show", "densenet", "--json"]) == 0
    assert parse_config(json.loads(capsys.readouterr().out)) == load_preset("densenet")


def test_validate_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.toml").write_text(to_toml(with_changes(load_preset("wrn"), {"training.epochs": 20})))
    assert main(["presets", "validate", "good.toml", "--json"]) == 0
    good = json.loads(capsys.readouterr().out)
    assert good["valid"] and good["config"]["training"]["epochs"] == 20 and "never be reached" in good["notes"][0]
    Path("bad.toml").write_text('seed = "x"\n[model]\nkind = "densenet"\ndepth = 5\n')
    assert main(["presets", "validate", "bad.toml", "--json"]) == 2
    bad = json.loads(capsys.readouterr().out)
    assert not bad["valid"]
    values = {error["field"]: error["value"] for error in bad["errors"]}
    assert values["seed"] == "x" and values["model.depth"] == 5
    for text, value in (("seed = inf", "inf"), ("seed = 2026-11-29", "2026-11-29"), ("seed = [1, 2.5]", [1, 2.5])):
        Path("bad.toml").write_text(f'{text}\n[model]\nkind = "densenet"\n')
        assert main(["presets", "validate", "bad.toml", "--json"]) == 2
        assert [e["value"] for e in json.loads(capsys.readouterr().out)["errors"] if e["field"] == "seed"] == [value]
    assert main(["presets", "validate", "none.toml", "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert error["value"] is None


def test_a_configuration_may_come_from_a_pipe(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "fmnist_tui"]
    text = to_toml(with_changes(load_preset("densenet"), {"training.epochs": 7})).encode()
    found = subprocess.run(
        [*program, "presets", "validate", "-", "--json"], input=text, capture_output=True, check=True
    )
    assert json.loads(found.stdout)["config"]["training"]["epochs"] == 7
    wrong = subprocess.run([*program, "run", "config", "-"], input=b"seed = 1", capture_output=True, check=False)
    assert wrong.returncode == 2 and wrong.stderr.startswith(b"error: /dev/stdin: ")
    (tmp_path / "-").write_bytes(text)
    assert main(["presets", "validate", "./-"]) == 0


def test_presets_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "path"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths.preset_dirs()]
    assert main(["presets", "path", "--json"]) == 0
    local, user, shipped = json_lines(capsys.readouterr().out)
    assert (local["origin"], user["origin"], shipped["origin"]) == ("local", "user", "shipped")
    assert shipped["exists"] and not local["exists"]


def test_presets_path_in_a_checkout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """There ./presets are the shipped ones, which come last, and there are two directories."""
    monkeypatch.chdir(paths.shipped_presets_dir().parent)
    assert main(["presets", "path"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths.preset_dirs()]
    assert main(["presets", "path", "--json"]) == 0
    assert [line["origin"] for line in json_lines(capsys.readouterr().out)] == ["user", "shipped"]


# --- options that only a new run has


@pytest.mark.parametrize("name", list(find_presets()))
def test_an_explained_preset_is_the_same_and_says_what_each_field_means(name: str, tmp_path: Path) -> None:
    config = load_preset(name)
    path = tmp_path / f"{name}.toml"
    path.write_text(text := to_toml(config, explain=True))
    assert to_toml(load_file(path)) == to_toml(config)
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    flowing = " ".join(lines)
    values = flatten(config)
    for spec in fields_of(config.model.kind):
        field = spec.key.rpartition(".")[2]
        assert spec.help and spec.help in flowing, spec.key
        at = next(nth for nth, line in enumerate(lines) if line.startswith((f"{field} = ", f"{field} is not set")))
        assert lines[at].endswith("is not set") == (values.get(spec.key, "") is None), spec.key
    assert "lr; 0 < lr <= 100" in lines and "one of custom, standard" in lines
    assert "images; 1 <= micro_batch <= 65,536; or full, auto" in lines
    assert max(map(len, lines)) <= 100


def test_a_configuration_of_ones_own_is_explained_too(tmp_path: Path) -> None:
    config = with_changes(load_preset("quick"), {"training.max_steps": 5})
    text = to_toml(config, explain=True)
    (tmp_path / "mine.toml").write_text(text)
    assert "\nmax_steps = 5\n" in text and load_file(tmp_path / "mine.toml").training.max_steps == 5
