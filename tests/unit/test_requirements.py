"""What pyproject.toml asks for, and the versions that tests are run with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
EXTRAS = ("tensorboard", "onnx", "safetensors", "slurm")


@pytest.fixture
def requirements() -> dict[str, Requirement]:
    """What the program needs, with what its extras need, by name."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("reads the repository's pyproject.toml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def pins(name: str) -> dict[str, Version]:
    """The lines of a constraints file, as it stands in the repository's root."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return {
        canonicalize_name(package): Version(version) for package, _, version in (line.partition("==") for line in lines)
    }


def test_the_oldest_versions_are_those_that_are_asked_for(requirements: dict[str, Requirement]) -> None:
    oldest = pins("constraints-oldest.txt")
    assert oldest.keys() == requirements.keys()
    for name, requirement in requirements.items():
        (least,) = (Version(bound.version) for bound in requirement.specifier if bound.operator == ">=")
        # A release number with zeros left out, or, where there is no such release, the first one of its series.
        assert oldest[name].release[: len(least.release)] == least.release, name


def test_the_versions_of_the_tests_are_allowed(requirements: dict[str, Requirement]) -> None:
    """constraints.txt is what CI installs."""
    present = pins("constraints.txt")
    for name, requirement in requirements.items():
        assert requirement.specifier.contains(present[name]), f"{name}=={present[name]}"
