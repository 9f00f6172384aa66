"""A configuration being edited: what typed text means, what is said to be wrong, how it differs from the preset."""

from __future__ import annotations

from typing import Any

import pytest

from fmnist_tui.config import MODEL_KINDS, RunConfig, WideResNetConfig
from fmnist_tui.fields import fields_of, with_changes
from fmnist_tui.presets import find_presets, load_preset, save_preset
from fmnist_tui.tui.draft import Draft, Raw, from_raw, input_kind, shown, to_raw
from fmnist_tui.tui.drafts import PresetDrafts, read_presets


@pytest.fixture
def draft() -> Draft:
    return Draft(load_preset("wrn"))


@pytest.mark.parametrize("name", find_presets())
def test_a_preset_as_it_is_has_no_changes_and_comes_out_unchanged(name: str) -> None:
    preset = load_preset(name)
    draft = Draft(preset)
    assert draft.config == preset
    assert (draft.changes, draft.problems, draft.edited) == ([], [], False)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_every_value_survives_being_shown_and_read_back(kind: str) -> None:
    config = RunConfig.model_validate({"model": {"kind": kind}, "schedule": {"milestones": (60, 120)}})
    for spec in fields_of(kind):
        section, _, name = spec.key.rpartition(".")
        value = getattr(getattr(config, section) if section else config, name)
        if spec.key != "model.kind":
            assert from_raw(spec, to_raw(value)) == value, spec.key


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("optimizer.lr", ".05", 0.05),
        ("optimizer.lr", "5e-2", 0.05),
        ("optimizer.lr", " 1 ", 1.0),
        ("training.epochs", "1_000", 1000),
        ("schedule.milestones", "60, 120", (60, 120)),
        ("schedule.milestones", "60 120,", (60, 120)),
        ("schedule.milestones", "[60,120]", (60, 120)),
        ("schedule.milestones", "60", (60,)),
        ("training.micro_batch", "auto", "auto"),
        ("training.micro_batch", "64", 64),
        ("training.max_steps", "", None),
        ("training.max_steps", "none", None),
        ("training.max_steps", "50", 50),
        ("training.deterministic", True, True),
        ("name", "123", "123"),
        ("description", "", ""),
    ],
)
def test_what_typed_text_means(draft: Draft, key: str, text: Raw, value: Any) -> None:
    draft.edit(key, text)
    assert draft.problems == []
    assert draft.config is not None
    section, _, name = key.rpartition(".")
    assert getattr(getattr(draft.config, section) if section else draft.config, name) == value


@pytest.mark.parametrize(
    ("edits", "to_blame", "involved"),
    [
        ({"optimizer.momentum": "0"}, "optimizer.nesterov", {"optimizer.momentum"}),
        ({"schedule.warmup_epochs": "300"}, "schedule.warmup_epochs", {"training.epochs"}),
        ({"training.micro_batch": "512"}, "training.micro_batch", {"training.batch_size"}),
        ({"model.kind": "densenet", "model.depth": "41"}, "model.depth", {"model.bottleneck"}),
        (
            {"model.kind": "dual_path_net", "model.filters": "1, 2"},
            "model.filters",
            {"model.blocks", "model.growth_rate"},
        ),
    ],
)
def test_rules_over_several_fields(draft: Draft, edits: dict[str, str], to_blame: str, involved: set[str]) -> None:
    for key, text in edits.items():
        draft.edit(key, text)
    assert list(draft.field_errors) == [to_blame]
    assert len(draft.cross_errors) == 1
    assert involved <= draft.involved


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("optimizer.lr", "abc", "must be a number"),
        ("optimizer.lr", "nan", "finite"),
        ("optimizer.lr", "0", "must be above 0"),
        ("optimizer.momentum", "1", "must be below 1"),
        ("training.epochs", "", "needs a value"),
        ("training.epochs", "2.5", "must be a whole number"),
        ("training.epochs", "0", "must be at least 1"),
        ("training.epochs", "true", "must be a whole number"),
        ("model.depth", "29", "the nearest is 28"),
        ("schedule.milestones", "60, x", "each must be a whole number"),
        ("schedule.milestones", "1", "must be at least 2"),
        ("training.micro_batch", "half", "must be full or auto, or a whole number"),
        ("name", "", "must not be empty"),
    ],
)
def test_what_is_wrong_is_said_of_the_field_in_plain_words(draft: Draft, key: str, text: str, said: str) -> None:
    draft.edit(key, text)
    assert draft.config is None
    assert list(draft.field_errors) == [key]
    assert said in draft.field_errors[key]
    assert draft.valid == load_preset("wrn"), "the last good configuration stays at hand"


def test_what_is_wrong_between_fields_stands_apart_and_names_them(draft: Draft) -> None:
    draft.edit("schedule.min_lr", "1")
    assert draft.config is None
    assert "must not exceed optimizer.lr" in draft.field_errors["schedule.min_lr"]
    assert draft.cross_errors == [f"schedule.min_lr: {draft.field_errors['schedule.min_lr']}"]
    assert draft.involved == {"optimizer.lr"}
    assert draft.problems == draft.cross_errors, "said once"
    draft.edit("optimizer.lr", "2")
    assert draft.problems == []


def test_changes_name_the_old_and_the_new_value(draft: Draft) -> None:
    draft.edit("training.epochs", "20")
    draft.edit("optimizer.nesterov", False)
    draft.edit("schedule.milestones", "5, 10")
    draft.edit("name", "mine")
    assert [tuple(change) for change in draft.changes] == [
        ("optimizer.nesterov", "on", "off"),
        ("schedule.milestones", "60, 120, 160", "5, 10"),
        ("training.epochs", "200", "20"),
    ], "the name is no hyperparameter"
    assert draft.changed("name")


def test_another_way_to_write_a_value_is_no_change(draft: Draft) -> None:
    draft.edit("optimizer.lr", "1e-1")
    draft.edit("schedule.milestones", "60 120 160")
    assert draft.changes == []


def test_reset_one_and_all(draft: Draft) -> None:
    draft.edit("training.epochs", "x")
    draft.edit("optimizer.lr", "0.5")
    draft.reset("training.epochs")
    assert [change.key for change in draft.changes] == ["optimizer.lr"]
    draft.edit("model.kind", "densenet")
    draft.edit("model.depth", "40")
    draft.reset_all()
    assert draft.config == load_preset("wrn")
    draft.edit("model.kind", "densenet")
    assert draft.raw("model.depth") == "100"


def test_another_family_starts_from_its_defaults_and_each_keeps_what_was_typed(draft: Draft) -> None:
    draft.edit("model.depth", "40")
    draft.edit("model.kind", "shake_shake")
    assert draft.config == with_changes(load_preset("wrn"), {"model.kind": "shake_shake"})
    assert [tuple(change) for change in draft.changes] == [("model.kind", "wide_resnet", "shake_shake")]
    draft.edit("model.base_channels", "32")
    draft.edit("model.kind", "wide_resnet")
    assert [change.key for change in draft.changes] == ["model.depth"]
    draft.edit("model.kind", "shake_shake")
    assert draft.raw("model.base_channels") == "32"


def test_a_clone_shows_what_it_changed() -> None:
    preset = load_preset("wrn")
    clone = with_changes(preset, {"training.epochs": 30, "model.widen_factor": 4})
    draft = Draft(preset, clone)
    assert draft.config == clone
    assert [change.key for change in draft.changes] == ["model.widen_factor", "training.epochs"]


def test_the_schedule_scaled_to_the_epochs_typed(draft: Draft) -> None:
    draft.edit("training.epochs", "20")
    for key, raw in draft.scaled().items():
        draft.edit(key, raw)
    assert draft.config is not None
    assert draft.config.schedule.milestones == (7, 13, 17)
    draft.edit("training.epochs", "x")
    assert draft.scaled() == {}


def test_every_field_has_an_input_that_suits_it() -> None:
    kinds = {spec.key: input_kind(spec) for kind in MODEL_KINDS for spec in fields_of(kind)}
    assert kinds["optimizer.nesterov"] == "switch"
    assert kinds["schedule.kind"] == kinds["model.kind"] == kinds["model.shake_level"] == "choice"
    assert kinds["schedule.milestones"] == kinds["model.filters"] == "list"
    assert kinds["training.micro_batch"] == kinds["training.stop_at_accuracy"] == kinds["seed"] == "number"
    assert kinds["name"] == "text"


def test_shown() -> None:
    assert [shown(value) for value in (True, 0.0005, 1.0, (), None, "x")] == ["on", "0.0005", "1", "none", "none", "x"]


# The presets and their drafts.


def test_going_to_another_preset_and_back_loses_nothing() -> None:
    drafts = PresetDrafts()
    first = drafts.current
    drafts.draft.edit("training.epochs", "7")
    assert drafts.choose("densenet")
    assert drafts.draft.config == load_preset("densenet")
    assert drafts.edited == {first}
    assert not drafts.choose("densenet"), "shown already"
    assert not drafts.choose("no-such-preset")
    drafts.choose(first)
    assert drafts.draft.raw("training.epochs") == "7"


def test_a_clone_of_a_run_whose_preset_is_gone_is_its_own_preset() -> None:
    config = RunConfig(
        name="wrn", preset="gone", model=WideResNetConfig(depth=10), schedule=load_preset("wrn").schedule
    )
    drafts = PresetDrafts(config)
    assert drafts.current == "wrn (run)"
    assert drafts.draft.config == config
    assert len({entry.name for entry in drafts.entries}) == len(drafts.entries)


def test_the_difference_in_a_line_is_cut_where_the_room_ends() -> None:
    drafts = PresetDrafts()
    assert drafts.difference(80) == (f"No changes from {drafts.current}", "")
    drafts.choose("wrn")
    for key, raw in (("training.epochs", "20"), ("optimizer.lr", "0.05"), ("schedule.milestones", "5, 10")):
        drafts.draft.edit(key, raw)
    count, text = drafts.difference(200)
    assert count == "3 changes from wrn: "
    assert text == "optimizer.lr 0.1 → 0.05; schedule.milestones 60, 120, 160 → 5, 10; training.epochs 200 → 20"
    assert drafts.difference(200, ascii_only=True)[1].isascii()
    count, text = drafts.difference(100)
    assert text == "optimizer.lr 0.1 → 0.05; schedule.milestones 60, 120, 160 → 5, 10; and 1 more"
    assert len(count + text) <= 100
    assert drafts.difference(20)[1] == "optimizer.lr 0.1 → 0.05; and 2 more"


def test_presets_that_change_on_disk() -> None:
    drafts = PresetDrafts()
    drafts.choose("wrn")
    drafts.draft.edit("training.epochs", "7")
    drafts.choose("densenet")
    assert not drafts.reread()
    save_preset(with_changes(load_preset("densenet"), {"seed": 1}), "densenet")
    save_preset(with_changes(load_preset("wrn"), {"seed": 2}), "wrn")
    assert drafts.reread()
    assert drafts.draft.config is not None
    assert drafts.draft.config.seed == 1, "an unedited draft follows its file"
    drafts.choose("wrn")
    assert drafts.draft.raw("training.epochs") == "7", "an edited one is kept"


def test_a_broken_preset_is_listed_with_what_is_wrong() -> None:
    path = save_preset(load_preset("wrn"), "mine")
    path.write_text("nonsense =")
    entry = next(entry for entry in read_presets() if entry.name == "mine")
    assert entry.config is None
    assert "TOML" in entry.about
    assert not PresetDrafts().choose("mine")


def test_where_broken_files_hide_every_preset_the_shipped_ones_are_offered() -> None:
    for name in find_presets():
        save_preset(load_preset(name), name).write_text("nonsense =")
    drafts = PresetDrafts()
    assert drafts.current.endswith("(shipped)")
    assert drafts.draft.config is not None
