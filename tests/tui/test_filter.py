"""The filter's language."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_tui.runs import filter as language
from fmnist_tui.runs import store
from fmnist_tui.runs.filter import parse_filter
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.screens.runs import RunsScreen
from tests.tui.synthetic import RunMaker


@pytest.fixture
def runs(maker: RunMaker) -> dict[str, Run]:
    """One run in each state, by what is special about it."""
    return {key: store.load_run(run) for key, run in maker.gallery().items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "running starting stopping finished failed not finite|lost|stopped|old|damaged"),
        ("preset:wrn", "running|old"),
        ("preset:WRN state:running", "running"),
        ("state:running,lost", "running|lost|damaged"),
        ("state:alive", "running|starting|stopping"),
        ("state:fin", "finished|old"),
        ("acc>94", "old"),
        ("acc>93 acc<93.5", "running|stopping|lost"),
        ("best>=93.6%", "running|old"),
        ("device:cuda:1", "stopping"),
        ("device:cpu", "finished"),
        ("name:cutout", "old"),
        ("CUTOUT", "old"),
        ("-state:alive -state:failed -device:cuda", "finished|damaged"),
        ("state:lost", "lost|damaged"),
        ("epoch=512", "stopped"),
        ("model:shake", "failed|stopped"),
        ("zzz", ""),
    ],
)
def test_what_passes(text: str, found: str, runs: dict[str, Run]) -> None:
    parsed = parse_filter(text)
    assert parsed.problems == ()
    passed = [key for key, run in runs.items() if parsed.matches(run)]
    assert passed == (list(runs) if not text else [key for key in found.split("|") if key])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stat:running", "did you mean state:"),
        ("accuracy>94", "no such qualifier; did you mean acc>"),
        ("acc>", "a number is missing"),
        ("acc>high", "high is not a number"),
        ("acc>nan", "nan is not a number"),
        ("acc<1e999", "1e999 is not a number"),
        ("acc:94", "is a number; write acc>94"),
        ("preset>3", "preset is a text; write preset:3"),
        ("state:walking", "the states are queued, starting"),
        ("preset:", "a text is missing"),
        ("qqqqqq:1", "known are"),
    ],
)
def test_what_is_wrong_is_said_and_left_out(text: str, said: str, runs: dict[str, Run]) -> None:
    parsed = parse_filter(f"{text} state:running")
    assert len(parsed.problems) == 1
    assert said in parsed.problems[0]
    assert [key for key, run in runs.items() if parsed.matches(run)] == ["running"]


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    parsed = parse_filter(text)
    assert len(parsed.tests) + len(parsed.problems) == len(text.split())


def test_the_runs_screens_help_names_every_qualifier() -> None:
    for name in (*language._TEXTS, *language._NUMBERS):
        assert name in re.findall(r"[a-z]+", RunsScreen.HELP)
