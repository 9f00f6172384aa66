"""From options to a RunConfig: --set, the options with a field, --scale-schedule, devices."""

from __future__ import annotations

from typing import Any

import pytest

from fmnist_tui.config import ConfigError
from fmnist_tui.console.configure import check_device, check_gpus, check_rendezvous, configure, parse_settings
from fmnist_tui.console.output import UsageError
from fmnist_tui.fields import flatten, with_changes
from fmnist_tui.monitor import Gpu, GpuList
from fmnist_tui.presets import load_preset

NO_OPTIONS: dict[str, Any] = {
    "training.epochs": None,
    "seed": None,
    "name": None,
    "data.source": None,
    "data.split": None,
}


def test_set_takes_every_kind_of_value() -> None:
    settings = ["optimizer.lr=0.05", "augment.flip=false", "schedule.milestones=[3, 9]", "training.micro_batch=auto"]
    settings += ["training.max_steps=none", "name=a = b", "data.split=standard", "seed=7"]
    config, _ = configure(load_preset("wrn"), settings, NO_OPTIONS)
    assert config.optimizer.lr == 0.05
    assert config.augment.flip is False
    assert config.schedule.milestones == (3, 9)
    assert config.training.micro_batch == "auto"
    assert config.training.max_steps is None
    assert (config.name, config.data.split, config.seed) == ("a = b", "standard", 7)


def test_options_change_their_fields_and_nothing_else() -> None:
    base = load_preset("wrn")
    options = NO_OPTIONS | {"training.epochs": 170, "seed": 1, "name": "mine", "data.split": "standard"}
    config, notes = configure(base, [], options)
    changed = {key for key, value in flatten(config).items() if value != flatten(base)[key]}
    assert changed == {"training.epochs", "seed", "data.split"}
    assert (config.training.epochs, config.seed, config.name, config.preset) == (170, 1, "mine", "wrn")
    assert notes == []


def test_a_shortened_run_keeps_its_milestones_and_says_so() -> None:
    config, notes = configure(load_preset("wrn"), [], NO_OPTIONS | {"training.epochs": 100})
    assert config.schedule.milestones == (60, 120, 160)
    (note,) = notes
    assert "120, 160" in note and "never be reached" in note and "--scale-schedule" in note


@pytest.mark.parametrize("how", ["option", "set"])
def test_scale_schedule_moves_the_milestones(how: str) -> None:
    settings = ["training.epochs=20"] if how == "set" else []
    options = NO_OPTIONS | ({"training.epochs": 20} if how == "option" else {})
    config, notes = configure(load_preset("wrn"), settings, options, scale=True)
    assert config.training.epochs == 20
    assert config.schedule.milestones == (7, 13, 17)
    assert notes == []


def test_what_is_set_wins_over_what_is_scaled() -> None:
    config, _ = configure(
        load_preset("wrn"), ["schedule.milestones=[5]"], NO_OPTIONS | {"training.epochs": 20}, scale=True
    )
    assert config.schedule.milestones == (5,)


def test_a_warm_up_that_no_longer_fits_moves_in_proportion_and_says_so() -> None:
    base = with_changes(load_preset("quick"), {"schedule.warmup_epochs": 2.0, "training.epochs": 8})
    config, notes = configure(base, [], NO_OPTIONS | {"training.epochs": 1})
    assert config.schedule.warmup_epochs == 0.25
    assert any("warmup_epochs" in note and "0.25" in note for note in notes)
    with pytest.raises(ConfigError, match="warmup_epochs"):  # but one that was asked for is not touched
        configure(base, ["schedule.warmup_epochs=3"], NO_OPTIONS | {"training.epochs": 1})


@pytest.mark.parametrize("setting", ["", "=", "=5", "optimizer.lr", "  =3"])
def test_a_setting_of_another_form_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_settings([setting])


def test_a_field_given_twice_is_refused_unless_the_values_agree() -> None:
    assert parse_settings(["seed=1", "seed=1"]) == {"seed": 1}
    with pytest.raises(UsageError, match="given twice"):
        parse_settings(["seed=1", "seed=2"])
    with pytest.raises(UsageError, match="--seed 3"):
        configure(load_preset("quick"), ["seed=2"], NO_OPTIONS | {"seed": 3})
    config, _ = configure(load_preset("quick"), ["seed=3"], NO_OPTIONS | {"seed": 3})
    assert config.seed == 3


def test_scaling_to_no_epochs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training.epochs = 0"):
        configure(load_preset("wrn"), [], NO_OPTIONS | {"training.epochs": 0}, scale=True)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Gpu(ordinal=n, index=n, name=f"GPU {n}", uuid="", memory_total=None) for n in range(2)]
    monkeypatch.setattr("fmnist_tui.monitor.list_gpus", lambda: GpuList(gpus, ""))
    for device in ("auto", "cpu", "cuda", "cuda:0", "cuda:1"):
        check_device(device)
    with pytest.raises(UsageError, match=r"cuda:0 \(GPU 0\), cuda:1 \(GPU 1\)"):
        check_device("cuda:2")
    for device in ("", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:1:2", "cpu:0", "mps:0", "auto\n"):
        with pytest.raises(UsageError, match="must be auto, cpu"):
            check_device(device)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.raises(UsageError, match="no Apple GPU"):
        check_device("mps")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    check_device("mps")


def gpus_here(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    gpus = [Gpu(ordinal=n, index=n, name=f"GPU {n}", uuid="", memory_total=None) for n in range(count)]
    monkeypatch.setattr("fmnist_tui.monitor.list_gpus", lambda: GpuList(gpus, "" if count else "no GPU found"))


def test_number_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus_here(monkeypatch, 2)
    assert [check_gpus(text, "auto") for text in ("1", "2", "all")] == [1, 2, 2]
    assert check_gpus("2", "cuda") == 2 and check_gpus("1", "cuda:1") == 1
    for text in ("0", "-1", "many", "2.5", ""):
        with pytest.raises(UsageError, match=f"--gpus {text}: must be a number"):
            check_gpus(text, "auto")
    with pytest.raises(UsageError, match="--gpus 3: this machine has 2"):
        check_gpus("3", "auto")
    with pytest.raises(UsageError, match="--device cuda:1 is one GPU"):
        check_gpus("2", "cuda:1")


def test_number_of_gpus_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus_here(monkeypatch, 0)
    for text in ("2", "all"):
        with pytest.raises(UsageError, match=f"--gpus {text}: no GPU found; .*--device cpu --gpus 2"):
            check_gpus(text, "auto")
    assert check_gpus("3", "cpu") == 3
    for text in ("0", "65", "all"):
        with pytest.raises(UsageError, match=f"--gpus {text}: with --device cpu it is a number of processes"):
            check_gpus(text, "cpu")


def test_machines_need_a_place_to_meet() -> None:
    check_rendezvous(1, None)
    check_rendezvous(2, "10.0.0.1:29500")
    check_rendezvous(2, "[::1]:29500")
    for nodes, where, words in (
        (0, None, "--nnodes 0"),
        (2, None, "needs --rdzv"),
        (1, "a:1", "needs --nnodes"),
        (2, "host", "--rdzv host: names no port; must be HOST:PORT, for example host:29500"),
        (2, "", "names no port; must be HOST:PORT, for example 10.0.0.1:29500"),
        (2, "host:99999", "--rdzv host:99999: the port is '99999'; must be a number from 1 to 65535"),
        (2, "host:0", "the port is '0'"),
        (2, "host:-1", "the port is '-1'"),
        (2, "host:", "the port is ''"),
        (2, "host:ssh", "the port is 'ssh'; must be a number from 1 to 65535, for example host:29500"),
        (2, "host:٢٩٥٠٠", "the port is '٢٩٥٠٠'"),
        (2, "[::1]:70000", "the port is '70000'; must be a number from 1 to 65535, for example [::1]:29500"),
        (2, "[::1]", "names no port; must be HOST:PORT, for example [::1]:29500"),
        (2, "::1", "an IPv6 address stands in brackets"),
        (2, "fd00::1:29500", "an IPv6 address stands in brackets"),
        (2, "fd00:1:2:3:4:5:6:7:29500", "an IPv6 address stands in brackets"),
        (2, "[nonsense]:29500", "the host, [nonsense], is no IPv6 address in brackets"),
        (2, ":5", "the host is ''"),
        (2, "two words:5", "the host is 'two words'"),
    ):
        with pytest.raises(UsageError) as caught:
            check_rendezvous(nodes, where)
        assert words in str(caught.value)
