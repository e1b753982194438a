"""Tiers: which tests run, and what a skip is worth.

A test belongs to the tiers it is marked with, or to `default` if to none; it runs when all of its tiers were asked for.
Where the machine lacks what a tier needs, its tests are skipped and the summary says why; with `--required` such a
skip, any other skip, and a tier without a single test are failures, since a promise that nothing kept was broken.

Workers of pytest-xdist (`-n 2`) can share the default tier. The other tiers are about the one host there is, its
interfaces and its load: their tests run one by one.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]  # for the tests of this file; pytest takes it from a root conftest only

CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21  # bit numbers in linux/capability.h


def nothing_lacks() -> str:
    """For tiers whose tests say themselves what they miss."""
    return ""


def root_lacks() -> str:
    """What the machine refuses to the `root` tier, or nothing."""
    capabilities = 0
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("CapEff:"):
            capabilities = int(line.split()[1], 16)
    for name, bit in (("CAP_NET_ADMIN", CAP_NET_ADMIN), ("CAP_SYS_ADMIN", CAP_SYS_ADMIN)):
        if not capabilities >> bit & 1:
            return f"this process lacks {name}; run as root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is missing or closed to this user; modprobe tun, or give it to the container"
    if not shutil.which("ip"):
        return "there is no ip command; install iproute2"
    return ""


def qemu_lacks() -> str:
    """What the machine refuses to the `qemu` tier, or nothing."""
    return "" if shutil.which("qemu-system-x86_64") else "there is no qemu-system-x86_64; install qemu-system-x86"


TIERS: dict[str, Callable[[], str]] = {
    "default": nothing_lacks,
    "package": nothing_lacks,
    "root": root_lacks,
    "qemu": qemu_lacks,
    "slow": nothing_lacks,
    "bench": nothing_lacks,
}

NOT_RUN = pytest.StashKey[Counter[str]]()  # tests left out, by the tier that was not asked for
EMPTY = pytest.StashKey[list[str]]()  # tiers asked for that have no test
TALLY = "etherloom-tiers"  # both, as an xdist worker hands them over


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tiers")
    group.addoption("--tiers", type=tiers_named, default="default", help=f"which to run, of {','.join(TIERS)}")
    group.addoption("--required", action="store_true", help="these tiers are promised: a skip in them is a failure")


def tiers_named(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    if unknown := names - TIERS.keys():
        raise pytest.UsageError(f"--tiers: unknown {', '.join(sorted(unknown))} (allowed: {', '.join(TIERS)})")
    return names


def tiers_of(item: pytest.Item) -> list[str]:
    return [tier for tier in TIERS if item.get_closest_marker(tier)] or ["default"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen: frozenset[str] = config.getoption("--tiers")
    lacks = {tier: TIERS[tier]() for tier in chosen}
    not_run: Counter[str] = Counter()
    empty = [tier for tier in TIERS if tier in chosen]
    run: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        tiers = tiers_of(item)
        if missing := [tier for tier in tiers if tier not in chosen]:
            left_out.append(item)
            not_run.update(missing)
            continue
        run.append(item)
        empty = [tier for tier in empty if tier not in tiers]
        for tier in tiers:
            if lacks[tier]:
                item.add_marker(pytest.mark.skip(reason=lacks[tier]))
    items[:] = run
    config.hook.pytest_deselected(items=left_out)
    config.stash[NOT_RUN] = not_run
    config.stash[EMPTY] = empty if config.getoption("--required") else []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.config.getoption("--required") and report.skipped and not hasattr(report, "wasxfail"):
        break_promise(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if collector.config.getoption("--required") and report.skipped:
        break_promise(report)
    return report


def break_promise(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that keeps its reason."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    report.outcome = "failed"
    report.longrepr = f"{reason} (this tier is promised, so the skip is a failure)"


def pytest_sessionfinish(session: pytest.Session) -> None:
    empty = session.config.stash.get(EMPTY, [])
    not_run: Counter[str] = session.config.stash.get(NOT_RUN, Counter())
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # this is a worker: it collects, as all of them do, and the controller reports
        output[TALLY] = dict(not_run), empty
    elif empty and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """In the controller: a worker has ended. One that crashed has left nothing."""
    output = getattr(node, "workeroutput", {})
    if TALLY in output:
        not_run, node.config.stash[EMPTY] = output[TALLY]
        node.config.stash[NOT_RUN] = Counter(not_run)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for tier in config.stash.get(EMPTY, []):
        terminalreporter.write_line(f"FAILED tier {tier}: it is promised and has no test")
    for tier, tests in sorted(config.stash.get(NOT_RUN, Counter()).items()):
        how = "script/bench" if tier == "bench" else f"script/test --tier {tier}"
        lack = TIERS[tier]()
        terminalreporter.write_line(f"not run: tier {tier}, {tests} tests ({how}{f', but {lack}' if lack else ''})")
