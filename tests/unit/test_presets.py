"""Presets: shadowing, names and files of all sorts, and saving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_tui import paths
from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import (
    MAX_PRESET_BYTES,
    find_presets,
    load_file,
    load_preset,
    save_preset,
    shipped_preset,
    to_toml,
)

MINIMAL = '[model]\nkind = "densenet"\n[schedule]\nkind = "cosine"\n'


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """./presets"""
    directory = tmp_path / "presets"
    directory.mkdir()
    return directory


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """The presets directory of the user."""
    directory = paths.user_presets_dir()
    assert tmp_path in directory.parents
    directory.mkdir(parents=True)
    return directory


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **options)
    return str(caught.value)


def test_shadowing_goes_local_user_shipped(local: Path, users: Path) -> None:
    shipped = load_preset("wrn")
    (users / "wrn.toml").write_text(MINIMAL + "[training]\nepochs = 2\n")
    assert (load_preset("wrn").training.epochs, find_presets()["wrn"].origin) == (2, "user")
    (local / "wrn.toml").write_text(MINIMAL + "[training]\nepochs = 3\n")
    assert (load_preset("wrn").training.epochs, find_presets()["wrn"].origin) == (3, "local")
    assert find_presets()["densenet"].origin == "shipped"
    assert shipped_preset("wrn") == shipped, "a shadow does not change what came with the program"
    assert list(find_presets()).count("wrn") == 1
    (local / "aaa.toml").write_text(MINIMAL)
    assert list(find_presets())[-1] == "aaa", "others follow the shipped ones"


def test_a_preset_answers_to_its_files_name(local: Path) -> None:
    (local / "mine.toml").write_text('name = "other"\npreset = "wrn"\n' + MINIMAL)
    assert (load_preset("mine").preset, load_preset("mine").name) == ("mine", "other")
    (local / "nameless.toml").write_text(MINIMAL)
    assert load_preset("nameless").name == "nameless"


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a\0b", "", ".", "..", "a b", "wrn.toml", "./wrn", "x/../wrn", "ẅrn", "-wrn", "WRN ", "~",
     "a" * 300, "wrn\n"],
)  # fmt: skip
def test_names_are_not_paths(name: str, local: Path) -> None:
    for path in (local / "a b.toml", local.parent / "x.toml", local / "-wrn.toml", local / "ẅrn.toml"):
        path.write_text(MINIMAL)
    message = refused(load_preset, name)
    assert message.startswith("preset = ")
    assert "no preset of this name" in message
    assert "\n" not in message
    assert shipped_preset(name) is None
    assert "of a to z, A to Z, digits" in refused(save_preset, load_preset("wrn"), name)
    assert not paths.user_presets_dir().exists()


def test_a_wrong_name_gets_a_hint() -> None:
    assert "did you mean densenet?" in refused(load_preset, "densnet")


def test_a_file_of_a_name_that_no_preset_has_is_named(local: Path) -> None:
    (local / "my preset.toml").write_text(MINIMAL)
    said = refused(load_preset, "my preset")
    assert f"rename {local}/my preset.toml" in said and f"fmnist-tui run config '{local}/my preset.toml'" in said
    assert "fmnist-tui run config ./my/x.toml" in refused(load_preset, "./my/x.toml")
    assert "quick, " in refused(load_preset, "zzzzzzzzzzzz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[model\n", "is not valid TOML: Expected ']'"),
        (b"seed = 1\nseed = 2\n", "is not valid TOML: Cannot overwrite a value"),
        (b"\xff\xfe[\0m\0", "is not UTF-8 text"),
        (b"seed = \xe9", "is not UTF-8 text"),
        (b"#" * (MAX_PRESET_BYTES + 1), "is over 1 MB"),
        (b"x = " + b"[" * 100_000, "is not valid TOML"),
        (b"seed = " + b"9" * 5000, "is not valid TOML"),
        (b"", "model.kind: must be one of wide_resnet"),
        (MINIMAL.encode() + b"depth = 1\n", "schedule.depth: no such field; did you mean model.depth?"),
        (b"[model]\nkind='densenet'\ndepth = 11\n[schedule]\nkind='cosine'", "model.depth = 11: a DenseNet's depth"),
    ],
    ids=["broken", "twice", "utf-16", "latin-1", "huge", "deep", "digits", "empty", "misplaced", "depth"],
)
def test_bad_files_are_refused_by_name(content: bytes, message: str, local: Path) -> None:
    path = local / "bad.toml"
    path.write_bytes(content)
    said = refused(load_file, path)
    assert said.startswith(f"{path}: {message}"), said
    assert len(said) < 1000
    assert refused(load_preset, "bad") == said
    assert "wrn" in find_presets(), "one bad file hides no other preset"


lines = st.sampled_from(
    ["[model]", "[data]", "[[training]]", "kind='densenet'", "kind='../../x'", "depth=1e400", "=", ""]
)
odd = st.lists(lines | st.text(max_size=20), max_size=6).map("\n".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=odd.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60))
def test_no_content_does_more_than_be_refused(content: bytes, tmp_path: Path) -> None:
    """A configuration, or an error that names the file; nothing else is read, run or written."""
    path = tmp_path / "odd.toml"
    path.write_bytes(content)
    before = {found.name for found in tmp_path.iterdir()}
    try:
        assert isinstance(load_file(path), RunConfig)
    except ConfigError as error:
        assert str(path) in str(error)
    assert {found.name for found in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", ["\ufeff" + MINIMAL, MINIMAL.replace("\n", "\r\n"), "# Grüße\n" + MINIMAL])
def test_files_as_editors_write_them(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content.encode())
    assert load_file(path).model.kind == "densenet"


def test_places_that_are_no_files(local: Path) -> None:
    (local / "folder.toml").mkdir()
    (local / "dangling.toml").symlink_to(local / "nowhere")
    (local / "loop.toml").symlink_to(local / "loop.toml")
    assert "is a directory; name a TOML file in it" in refused(load_preset, "folder")
    assert "is a directory" in refused(load_file, local)
    assert "no such file" in refused(load_file, local / "nowhere")
    assert "no such file" in refused(load_preset, "dangling")
    assert "cannot be read: Too many levels" in refused(load_preset, "loop")
    assert "cannot be read: File name too long" in refused(load_file, local / ("x" * 300))
    assert "no such file" in refused(load_file, local / "nowhere.toml" / "x")
    (local / "file").write_text("")
    assert "cannot be read: Not a directory" in refused(load_file, local / "file" / "x.toml")
    assert "is not a path" in refused(load_file, Path("a\0b"))
    assert "is over 1 MB" in refused(load_file, Path("/dev/zero"))


def test_a_symlink_to_a_preset_is_one(local: Path, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text(MINIMAL)
    (local / "linked.toml").symlink_to(tmp_path / "real.txt")
    assert load_preset("linked").model.kind == "densenet"


def test_a_file_that_is_not_there_names_what_was_likely_meant(local: Path) -> None:
    assert refused(load_file, Path("wrn")) == "wrn: no such file; wrn is a preset: fmnist-tui run preset wrn"
    (local / "mine.toml").write_text(MINIMAL)
    assert refused(load_file, local / "mien.toml").endswith(f": no such file; did you mean {local / 'mine.toml'}?")
    assert refused(load_file, local / "quite-another.toml").endswith(": no such file")


def test_a_preset_from_a_pipe(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, MINIMAL.encode())
    os.close(write)
    try:
        assert load_file(Path(f"/dev/fd/{read}")).model.kind == "densenet"
    finally:
        os.close(read)


@pytest.mark.usefixtures("permissions_bind")
def test_what_is_closed_to_the_user(local: Path, users: Path) -> None:
    (local / "secret.toml").write_text(MINIMAL)
    (local / "secret.toml").chmod(0)
    assert "cannot be read: Permission denied" in refused(load_preset, "secret")
    users.parent.chmod(0)
    try:
        assert "wrn" in find_presets()
        assert "cannot be saved" in refused(save_preset, load_preset("wrn"), "x")
    finally:
        users.parent.chmod(0o755)


def test_a_presets_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "presets").write_text("")
    (tmp_path / "config").write_text("")
    assert "wrn" in find_presets()
    assert "cannot be saved as" in refused(save_preset, load_preset("wrn"), "mine")


def test_what_is_saved_loads(tmp_path: Path) -> None:
    changes = {"optimizer.lr": 0.1 + 0.2, "description": "Grüße", "training.max_steps": 5, "schedule.gamma": 1e-5}
    config = with_changes(load_preset("wrn"), changes)
    path = save_preset(config, "mine")
    assert path == paths.user_presets_dir() / "mine.toml"
    loaded = load_preset("mine")
    assert loaded == config.model_copy(update={"name": "mine", "preset": "mine"})
    assert loaded.reference == load_preset("wrn").reference
    assert find_presets()["mine"].origin == "user"
    assert names_in(path.parent) == ["mine.toml"]
    (path.parent / "another").touch()
    assert path.stat().st_mode == (path.parent / "another").stat().st_mode, "as the user's umask has it"


def test_a_preset_is_overwritten_only_on_demand() -> None:
    path = save_preset(load_preset("wrn"), "mine")
    before = path.read_bytes()
    assert "exists already" in refused(save_preset, load_preset("densenet"), "mine")
    assert path.read_bytes() == before
    save_preset(load_preset("densenet"), "mine", overwrite=True)
    assert load_preset("mine").model.kind == "densenet"


def test_a_preset_that_would_be_shadowed_is_not_saved(local: Path) -> None:
    (local / "mine.toml").write_text(MINIMAL)
    message = refused(save_preset, load_preset("wrn"), "mine", overwrite=True)
    assert f"{local / 'mine.toml'} would be taken in its place" in message
    assert not paths.user_presets_dir().exists()


WRITE_TEXT = Path.write_text


def full_disk(path: Path, text: str, *arguments: Any, **options: Any) -> int:
    """Stands in for Path.write_text: takes a few characters, then has no space."""
    WRITE_TEXT(path, text[:20], *arguments, **options)
    raise OSError(28, "No space left on device")


def no_space(*_: Any) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("target", "stand_in"), [("pathlib.Path.write_text", full_disk), ("pathlib.Path.replace", no_space)]
)
def test_a_failed_save_leaves_the_old_preset_and_nothing_else(
    target: str, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_preset(load_preset("wrn"), "mine")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(target, stand_in)
        message = refused(save_preset, load_preset("densenet"), "mine", overwrite=True)
    assert message.endswith("No space left on device")
    assert path.read_bytes() == before
    assert names_in(path.parent) == ["mine.toml"]


def test_a_directory_in_the_way_of_a_preset() -> None:
    (paths.user_presets_dir() / "mine.toml").mkdir(parents=True)
    assert "cannot be saved" in refused(save_preset, load_preset("wrn"), "mine", overwrite=True)
    assert names_in(paths.user_presets_dir()) == ["mine.toml"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=70))
def test_no_name_writes_outside_the_users_presets(name: str, tmp_path: Path) -> None:
    try:
        path = save_preset(load_preset("quick"), name, overwrite=True)
    except ConfigError:
        return
    assert path.parent == paths.user_presets_dir()
    assert path.is_file()
    assert names_in(tmp_path) == ["config"]


def test_toml_of_a_preset_is_readable() -> None:
    text = to_toml(load_preset("dpn"))
    assert 'kind = "dual_path_net"' in text
    assert "weight_decay = 0.0005" in text
    assert "preset" not in text
