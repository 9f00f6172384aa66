"""The language in which runs are filtered: words, `preset:wrn`, `state:running,lost`, `acc>94`, `-device:cpu`.

A pure parser and a predicate; called by the Runs screen as one types, and by `runs list`.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run

Test = Callable[[Run], bool]

_TEXTS: dict[str, Callable[[Run], str]] = {
    "preset": lambda run: (run.config.preset or "") if run.config else "",
    "group": lambda run: (run.config.group or "") if run.config else "",
    "model": lambda run: run.config.model.kind if run.config else "",
    "name": lambda run: run.name,
    "id": lambda run: run.id,
    "device": lambda run: run.status.device if run.status else "",
    "state": lambda run: run.state.value,
    "comment": lambda run: run.comment,
}
_NUMBERS: dict[str, Callable[[Run], float | None]] = {
    "acc": lambda run: run.status.test_accuracy if run.status else None,
    "best": lambda run: run.status.best_accuracy if run.status else None,
    "loss": lambda run: run.status.loss if run.status else None,
    "epoch": lambda run: run.status.epoch if run.status else None,
    "epochs": lambda run: run.status.epochs if run.status else None,
    "seed": lambda run: run.config.seed if run.config else None,
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}
_COMPARISON = re.compile(r"([A-Za-z]+)(<=|>=|<|>|=)(.*)")
_QUALIFIER = re.compile(r"([A-Za-z]+):(.*)")
HINT = "preset:wrn  state:running,lost  acc>94  best>=93.5  device:cuda  name:text  -state:failed"
"""An example of everything, shown while the filter is empty."""


@dataclass(frozen=True)
class RunFilter:
    """What a filter's text asks for; `problems` says in words what of it was not understood and left out."""

    tests: tuple[Test, ...] = ()
    problems: tuple[str, ...] = ()

    def matches(self, run: Run) -> bool:
        """Whether a run passes every test."""
        return all(test(run) for test in self.tests)


def parse_filter(text: str) -> RunFilter:
    """The filter a text describes. Words are joined by 'and'; what can't be understood is left out and said."""
    tests: list[Test] = []
    problems: list[str] = []
    for word in text.split():
        negated = word.startswith("-") and len(word) > 1
        found = _parse_word(word[1:] if negated else word)
        if isinstance(found, str):
            problems.append(found)
        else:
            tests.append(_negate(found) if negated else found)
    return RunFilter(tuple(tests), tuple(problems))


def _negate(test: Test) -> Test:
    return lambda run: not test(run)


def _parse_word(word: str) -> Test | str:
    """The test a word stands for, or what is wrong with it."""
    if match := _COMPARISON.fullmatch(word):
        return _parse_comparison(match[1].lower(), match[2], match[3])
    if match := _QUALIFIER.fullmatch(word):
        return _parse_qualifier(match[1].lower(), match[2].lower())
    wanted = word.lower()
    return lambda run: any(wanted in field(run).lower() for field in _TEXTS.values())


def _parse_comparison(name: str, sign: str, value: str) -> Test | str:
    if name not in _NUMBERS:
        if name in _TEXTS:
            return f"{name}{sign}: {name} is a text; write {name}:{value or '...'}"
        return _unknown(name, tuple(_NUMBERS))
    if not value:
        return f"{name}{sign}: a number is missing, for example {name}{sign}94"
    try:
        limit = float(value.rstrip("%"))
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        return f"{name}{sign}{value}: {value} is not a number"
    number, compare = _NUMBERS[name], _COMPARE[sign]

    def test(run: Run) -> bool:
        found = number(run)
        return found is not None and compare(found, limit)

    return test


def _parse_qualifier(name: str, value: str) -> Test | str:
    if name not in _TEXTS:
        return (
            f"{name}: is a number; write {name}>{value or '94'}" if name in _NUMBERS else _unknown(name, tuple(_TEXTS))
        )
    wanted = [part for part in value.split(",") if part]
    if not wanted:
        return f"{name}: a text is missing, for example {name}:{'running' if name == 'state' else 'wrn'}"
    if name == "state":
        return _state_test(wanted)
    field = _TEXTS[name]
    return lambda run: any(part in field(run).lower() for part in wanted)


def _state_test(wanted: list[str]) -> Test | str:
    """States may be shortened; 'alive' stands for all that are at work."""
    known = [state.value for state in State]
    states: set[str] = set()
    for part in wanted:
        found = {state for state in known if state.startswith(part)}
        if "alive".startswith(part):
            found |= {state.value for state in State if state.alive}
        if not found:
            return f"state:{part}: the states are {', '.join(known)}"
        states |= found
    return lambda run: _TEXTS["state"](run) in states


def _unknown(name: str, known: tuple[str, ...]) -> str:
    names = (*_TEXTS, *_NUMBERS)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}{':' if close[0] in _TEXTS else '>'}?" if close else f"known are {', '.join(known)}"
    return f"{name}: no such qualifier; {hint}"
