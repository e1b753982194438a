"""What the tiers promise: a skip shows its reason, and fails where the tier was promised; also with workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

CONFTEST = (Path(__file__).parents[1] / "conftest.py").read_text()

INI = """
[pytest]
addopts = -p no:hypothesispytest -p no:etherloom
markers =
    slow: s
    bench: b
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty project with our conftest."""
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.fixture(params=["-n0", "-n2"])
def run(project: pytest.Pytester, request: pytest.FixtureRequest) -> Run:
    """`run("--required")` runs the project's tests, in this process or shared by two workers."""
    return lambda *arguments: project.runpytest_inprocess(request.param, *arguments)


SKIPS = {
    "in the test": "import pytest\ndef test_it(): pytest.skip('no moon')",
    "by a marker": "import pytest\n@pytest.mark.skipif(True, reason='no moon')\ndef test_it(): pass",
    "of the module": "import pytest\npytest.skip('no moon', allow_module_level=True)",
}


@pytest.mark.parametrize("how", SKIPS)
def test_a_skip_in_a_promised_tier_fails_with_its_reason(project: pytest.Pytester, run: Run, how: str) -> None:
    project.makepyfile(SKIPS[how])
    result = run("--required")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*no moon (this tier is promised, so the skip is a failure)"])


def test_a_skip_passes_where_nothing_was_promised_and_says_why(project: pytest.Pytester, run: Run) -> None:
    project.makepyfile(SKIPS["in the test"])
    result = run("-ra")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["SKIPPED*no moon"])


def test_a_promised_tier_without_a_test_fails(project: pytest.Pytester, run: Run) -> None:
    project.makepyfile("def test_it(): pass")
    result = run("--tiers=default,slow", "--required")
    assert pytest.ExitCode.TESTS_FAILED == result.ret
    result.stdout.fnmatch_lines(["FAILED tier slow: it is promised and has no test", "*1 passed*"])


def test_a_tier_that_was_not_asked_for_is_named_with_the_way_to_run_it(project: pytest.Pytester, run: Run) -> None:
    project.makepyfile("import pytest\ndef test_it(): pass\n@pytest.mark.slow\ndef test_long(): assert False")
    result = run()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["not run: tier slow, 1 tests (script/test --tier slow)", "*1 passed*"])


@pytest.mark.parametrize(("tiers", "failed"), [("default", 0), ("default,slow", 0), ("default,slow,bench", 1)])
def test_a_test_of_two_tiers_runs_only_when_both_were_asked_for(
    project: pytest.Pytester, tiers: str, failed: int
) -> None:
    project.makepyfile(
        "import pytest\ndef test_it(): pass\n@pytest.mark.slow\n@pytest.mark.bench\ndef test_both(): assert False"
    )
    result = project.runpytest_inprocess(f"--tiers={tiers}")
    result.assert_outcomes(passed=1, failed=failed, deselected=1 - failed)
