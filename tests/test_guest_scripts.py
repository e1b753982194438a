"""script/get-qemu and script/get-guest, without a network: what apt is asked, what is printed, what is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="there is no apt-get")

ONE_LINE = """
deb [arch=amd64] http://security.example/debian-security bookworm-security main
deb http://mirror.example/debian bookworm main contrib
"""
DEB822 = """
Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An empty cache, a QEMU of its own that is too old, and an archive that nobody asks."""
    program(tmp_path / "bin/qemu-system-x86_64", "echo QEMU emulator version 7.2.22")
    return {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "ETHERLOOM_CACHE": str(tmp_path / "cache"),
        "ETHERLOOM_DEBIAN_MIRROR": "http://mirror.example/debian",
    }


def run(surroundings: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=60)


@needs_apt
@pytest.mark.parametrize(("name", "sources"), [("lab.list", ONE_LINE), ("lab.sources", DEB822)])
def test_the_archive_is_the_one_of_the_machine_s_own_sources(tmp_path: Path, name: str, sources: str) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / name).write_text(sources)
    (tmp_path / "apt.conf").write_text(f'Dir::Etc::sourcelist "none"; Dir::Etc::sourceparts "{tmp_path}/parts";')
    environment = {**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf")}
    environment.pop("ETHERLOOM_DEBIAN_MIRROR", None)
    done = run(environment, "bash", "-c", ". script/lib/debian.bash; debian_mirror")
    assert (0, "http://mirror.example/debian\n") == (done.returncode, done.stdout)


def test_a_named_archive_is_taken_instead(surroundings: dict[str, str]) -> None:
    surroundings["ETHERLOOM_DEBIAN_MIRROR"] = "http://other.example/debian/"
    done = run(surroundings, "bash", "-c", ". script/lib/debian.bash; debian_mirror")
    assert (0, "http://other.example/debian\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize(
    ("script", "advice"),
    [("get-qemu", "run script/get-qemu"), ("get-guest", "run script/get-guest --suite trixie")],
)
def test_print_gets_nothing_and_says_what_would(surroundings: dict[str, str], script: str, advice: str) -> None:
    done = run(surroundings, f"script/{script}", "--print")
    assert (1, "", True) == (done.returncode, done.stdout, done.stderr.strip().endswith(advice))
    assert not Path(surroundings["ETHERLOOM_CACHE"]).exists()


@pytest.mark.parametrize("version", ["10.1.1", "11.1.3"])
def test_a_qemu_that_is_new_enough_is_used_as_it_is(surroundings: dict[str, str], tmp_path: Path, version: str) -> None:
    program(tmp_path / "bin/qemu-system-x86_64", f"echo 'QEMU emulator version {version} (Debian)'")
    done = run(surroundings, "script/get-qemu")
    assert (0, f"{tmp_path}/bin/qemu-system-x86_64\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize("script", ["get-qemu", "get-guest"])
def test_an_unknown_option_shows_the_usage(surroundings: dict[str, str], script: str) -> None:
    done = run(surroundings, f"script/{script}", "--nonsense")
    assert (2, True) == (done.returncode, f"script/{script} --print" in done.stderr)


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="there is no dpkg-deb")
@pytest.mark.parametrize("script", ["get-qemu", "get-guest"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_script_leaves_nothing_half_made(
    surroundings: dict[str, str], tmp_path: Path, script: str, end: signal.Signals
) -> None:
    """Ctrl-C in mid-download; the terminal sends it to the whole group."""
    program(tmp_path / "bin/apt-get", f"echo $$ >{tmp_path}/downloading; exec sleep 1000")
    os.mkfifo(tmp_path / "downloading")
    with subprocess.Popen(
        [f"script/{script}"], cwd=ROOT, env=surroundings, stderr=subprocess.DEVNULL, process_group=0
    ) as process:
        (tmp_path / "downloading").read_text()
        cache = Path(surroundings["ETHERLOOM_CACHE"])
        assert any(path.is_dir() and path.name != "guest" for path in cache.rglob("*"))
        os.killpg(process.pid, end)
        process.wait(timeout=30)
    assert process.returncode != 0
    assert [] == [path for path in cache.rglob("*") if path.name != "guest" and path.suffix != ".lock"]
