"""A letter means one thing on every screen."""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict

from textual.binding import Binding

from fmnist_tui.tui import screens
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.base import FeedScreen


def kinds_of(screen: type[FeedScreen]) -> list[type[FeedScreen]]:
    return [screen, *(kind for below in screen.__subclasses__() for kind in kinds_of(below))]


def test_a_letter_means_one_thing_on_every_screen() -> None:
    for module in pkgutil.iter_modules(screens.__path__):
        importlib.import_module(f"{screens.__name__}.{module.name}")
    said: dict[str, set[str]] = defaultdict(set)
    tables = [FmnistApp.BINDINGS, *(kind.BINDINGS for kind in kinds_of(FeedScreen))]
    for table in tables:
        bindings = (one for one in table if isinstance(one, Binding))
        for binding in (made for one in bindings for made in Binding.make_bindings([one])):
            if len(binding.key) == 1 and binding.key.isalpha():
                said[binding.key].add(binding.description)
    assert {"c", "C", "m", "v", "y"} <= set(said)
    assert {key: meanings for key, meanings in said.items() if len(meanings) > 1} == {}
