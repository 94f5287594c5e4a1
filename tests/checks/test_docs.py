"""The tests in README.md and docs/testing.md run as written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_a_drivers_first_test_runs_on_the_template(pytester: pytest.Pytester) -> None:
    _, _, rest = README.partition("<!-- first-test:begin -->\n```python\n")
    code, _, _ = rest.partition("```")
    assert len(code.strip().splitlines()) <= 10
    (pytester.path / "drivers").symlink_to(ROOT / "drivers")
    pytester.makepyfile(code)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


@pytest.mark.parametrize("code", BLOCKS)
def test_each_test_of_the_page_runs(code: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(code)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_page_shows_a_report_as_it_is(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_pool=BLOCKS[0].replace(".mark_for_recycle()", "").replace("== 1", "== 0"))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    said = result.stdout.str()
    (text,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for line in text.splitlines():
        if line.strip() != "...":
            words = re.sub(r"\d+ ns", "N ns", line.strip())
            assert words in re.sub(r"\d+ ns", "N ns", said), line


def test_the_page_names_every_fixture_mark_and_site() -> None:
    from netemu.engine.inject import SITES
    from netemu.testing.pytest_plugin import MARKS, OURS

    names = [*OURS, *(mark.partition("(")[0] for mark in MARKS), *SITES]
    assert [name for name in names if f"`{name}" not in PAGE] == []
