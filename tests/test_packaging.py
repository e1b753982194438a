"""Each distribution builds to a wheel that says what it is, installs without the checkout, and is found by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import attrs
import pytest

pytestmark = pytest.mark.package

CHECKOUT = Path(__file__).parents[1]


@attrs.frozen
class Distribution:
    """One member of the workspace: its directory, and the `project` table of its pyproject.toml."""

    path: Path
    project: dict[str, Any]

    @property
    def name(self) -> str:
        """As pip knows it: `etherloom-tap`."""
        return str(self.project["name"])

    @property
    def package(self) -> str:
        """As Python imports it: `etherloom_tap`."""
        return self.name.replace("-", "_")

    @property
    def kinds(self) -> set[str]:
        """The kinds whose rows it owns."""
        groups = self.project["entry-points"].items()
        return {kind for group, kinds in groups if group.startswith("etherloom.") for kind in kinds}


def members() -> list[Distribution]:
    """The workspace's distributions, core first."""
    workspace = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    files = [file for member in workspace["members"] for file in sorted(CHECKOUT.glob(f"{member}/pyproject.toml"))]
    return [Distribution(file.parent, tomllib.loads(file.read_text())["project"]) for file in files]


every_distribution = pytest.mark.parametrize("member", members(), ids=lambda member: member.name)
every_plugin = pytest.mark.parametrize("member", members()[1:], ids=lambda member: member.name)


def pip(*arguments: str | Path) -> None:
    """Run this Python's pip; it speaks only of errors."""
    subprocess.run([sys.executable, "-m", "pip", "-qq", *arguments], check=True)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, by the distribution's name."""
    built = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, *(member.path for member in members()))
    return {member.name: next(built.glob(f"{member.package}-*.whl")) for member in members()}


@attrs.frozen
class Environment:
    """A virtual environment with what was installed into it and nothing else."""

    path: Path

    def run(self, command: str, *arguments: str | Path) -> str:
        """Run one of its commands outside the checkout; its standard output. A failure shows all that it said."""
        done = subprocess.run(
            [self.path / "bin" / command, *arguments],
            cwd=self.path,
            env={name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ETHERLOOM"))},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.fail(
                f"{command} {arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False
            )
        return done.stdout


MakeEnvironment = Callable[..., Environment]


@pytest.fixture
def clean_environment(tmp_path: Path) -> MakeEnvironment:
    """`clean_environment(*requirements)`: a new environment with these, and what they depend on, installed by pip."""

    def make(*requirements: str | Path) -> Environment:
        path = tmp_path / "clean"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
        pip("--python", path / "bin" / "python", "install", *requirements)
        return Environment(path)

    return make


def plugins_of(environment: Environment) -> set[tuple[str, str, str]]:
    """Distribution, kind and status of each plugin that the environment's Etherloom finds."""
    found = json.loads(environment.run("etherloom", "plugins", "--json"))["plugins"]
    return {(plugin["distribution"], plugin["kind"], plugin["status"]) for plugin in found}


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


@every_distribution
def test_a_wheel_holds_its_typed_package_and_nothing_else(member: Distribution, wheels: dict[str, Path]) -> None:
    source = member.path / "src"
    files = [path for directory in source.glob("etherloom*") for path in directory.rglob("*") if path.is_file()]
    expected = {path.relative_to(source).as_posix() for path in files if "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheels[member.name]) as archive:
        assert expected == {name for name in archive.namelist() if ".dist-info/" not in name}
    assert f"{member.package}/py.typed" in expected


@every_distribution
def test_a_wheel_says_what_it_is(member: Distribution, wheels: dict[str, Path]) -> None:
    metadata = metadata_of(wheels[member.name])
    fields = ("Name", "Version", "Summary", "Requires-Python", "License-Expression", "License-File")
    project = member.project
    expected = [project["name"], project["version"], project["description"], ">=3.11", "Apache-2.0", "LICENSE"]
    assert expected == [metadata[field] for field in fields]
    assert (member.path / "README.md").read_text().strip() == str(metadata.get_payload()).strip()


@every_distribution
def test_a_wheel_carries_the_licence(member: Distribution, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[member.name]) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
        assert (CHECKOUT / "LICENSE").read_bytes() == archive.read(name)


def test_core_works_without_any_plugin(wheels: dict[str, Path], clean_environment: MakeEnvironment) -> None:
    environment = clean_environment(wheels["etherloom"])
    assert environment.run("etherloom", "--help").startswith("Usage: etherloom")
    assert {"etherloom"} >= {distribution for distribution, _, _ in plugins_of(environment)}


@every_plugin
def test_a_plugin_beside_core_is_found_by_name_and_keeps_the_contract(
    member: Distribution, wheels: dict[str, Path], clean_environment: MakeEnvironment
) -> None:
    environment = clean_environment(wheels["etherloom"], wheels[member.name], "pytest", "hypothesis")
    assert {(member.name, kind, "ok") for kind in member.kinds} <= plugins_of(environment)
    tests = ("-c", CHECKOUT / "pyproject.toml", "-p", "no:cacheprovider", "-k", "contract", member.path / "tests")
    assert " passed" in environment.run("python", "-m", "pytest", *tests)
