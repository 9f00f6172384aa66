"""What can be done about an error, apart from how it is done: that is worded by the room that shows the error.

An error, a status and an event say what is wrong, and carry a Remedy, which only names what helps. On the command line
that is an option or a command, in the words here, which are also those of `str(error)`; in the app it is a key or a
field, in the words of `tui/remedies.py`, and for who calls `api` an argument, in those of `api_words.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fmnist_tui.wording import without_controls


class Remedy(BaseModel):
    """What helps: its name in every room's words, and the values that stand in them."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a status of a newer version may hold one

    name: str
    values: dict[str, Annotated[str, AfterValidator(without_controls)]] = Field(default_factory=dict)

    def worded(self, words: Mapping[str, str]) -> str:
        """In a room's words; '' where the room has none, or the remedy is a newer version's."""
        try:
            return words.get(self.name, "").format_map(self.values)
        except KeyError:
            return ""

    def __str__(self) -> str:
        return self.worded(COMMAND_LINE)


def remedy(name: str, **values: object) -> Remedy:
    """The remedy of this name; values become text."""
    assert name in COMMAND_LINE, name
    return Remedy(name=name, values={key: str(value) for key, value in values.items()})


def with_remedy(problem: str, worded: str) -> str:
    """What is wrong and what helps: after whole sentences and lists on a line of its own."""
    if not worded:
        return problem
    return problem + ("\n" if problem.endswith(".") or "\n" in problem else "; ") + worded


class Told(Exception):
    """An error that says what is wrong and carries what helps; each room words that with `told`.

    `option` is the command line's name of a value that is wrong: '--epochs 3: ...', in capitals 'RUN = wrn: ...'.
    """

    def __init__(
        self, problem: str, remedy: Remedy | str | None = None, *, option: str = "", value: object = ""
    ) -> None:
        self.problem, self.option, self.value = problem, option, value
        self.remedy = remedy
        """A text where every room says the same."""
        super().__init__(self.told())

    @property
    def wrong(self) -> str:
        """All that is wrong; more than the problem where there is more to say."""
        return self.problem

    def told(self, words: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None) -> str:
        """What is wrong and what helps, in a room's words and with its names of options; else the command line's."""
        about = f"--{self.option} {self.value}: " if self.option else ""
        if self.option and (options is not None or self.option.isupper()):
            about = f"{(options or {}).get(self.option, self.option)} = {self.value}: "
        helps = self.remedy.worded(words or COMMAND_LINE) if isinstance(self.remedy, Remedy) else self.remedy or ""
        return with_remedy(about + self.wrong, helps)


_GET_DATA = (
    "Get the full data set with `apt-get install dataset-fashion-mnist` or `fmnist-tui data fetch`, name the "
    "directory that holds it with --data-dir, or use the small sample with --data sample."
)

COMMAND_LINE: Mapping[str, str] = {
    "data": _GET_DATA,
    "data damaged": "`fmnist-tui data fetch --data-dir {directory}` replaces damaged files, or delete them. "
    + _GET_DATA,
    "data not fetched": "Check the network and run it again (whole files are kept), or get the data set with "
    "`apt-get install dataset-fashion-mnist`, --data-dir, or use the small sample with --data sample.",
    "other data directory": "Make room there or make it writable, or name another with --data-dir.",
    "other runs directory": "choose another with --runs-dir or FMNIST_TUI_RUNS_DIR",
    "more epochs": "to go on, give {more}: --epochs N",
    "other limit": "to go on, raise it or take it back: --stop-at-accuracy none",
    "other limit and epochs": "to go on, raise it or take it back: --stop-at-accuracy none, and give more epochs: "
    "--epochs N",
    "no limit": "--stop-at-accuracy none takes it back",
    "train anew": "train it anew: fmnist-tui run repeat {run}",
    "from best": "--from best goes on from the best one, or train it anew: fmnist-tui run repeat {run}",
    "try best": "try --from best, or train it anew: fmnist-tui run repeat {run}",
    "room for result": "make room, then go on with: fmnist-tui run resume {run}",
    "room for checkpoint": "once there is room, what came after that is done again by: fmnist-tui run resume {run}",
    "stop first": "stop it first: fmnist-tui runs stop {run}",
    "delete it": "delete all of it: fmnist-tui runs delete {run}",
    "queue": "see: fmnist-tui runs queue",
    "start now": "'fmnist-tui runs move {run} --now' starts it at once, beside the run at work",
    "micro batch": "--set training.micro_batch={fits}, or --set training.micro_batch=auto",
    "smaller micro batch": "set training.micro_batch to less, for example --set training.micro_batch={half}",
    "fewer GPUs": "choose as many with --gpus",
    "first run": "start one with: fmnist-tui run preset quick",
    "other checkpoint": "there is another: --checkpoint {other}",
    "scale schedule": "--scale-schedule moves them in proportion",
}
"""What a person at a shell types."""
