"""docs/operating.md and docs/privacy.md: every promise names tests that are there."""

from __future__ import annotations

import re

import pytest

from app.settings import PROJECT

DOCUMENTS = ("docs/operating.md", "docs/privacy.md")


def promises(document: str) -> list[tuple[str, list[str]]]:
    """(promise, the tests that it names) of each line of its tables."""
    found = []
    for line in (PROJECT / document).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and not line.startswith(("|---", "| promise |")):
            found.append((cells[0], [name.strip() for name in cells[-1].strip(" |").split(",")]))
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_promise_names_tests_that_are_there(document: str) -> None:
    told = promises(document)
    assert len(told) >= 9
    for promise, tests in told:
        for name in tests:
            assert re.fullmatch(r"tests/[\w/]+\.py", name), f"{promise} says it is kept by {name}"
            assert "def test_" in (PROJECT / name).read_text(encoding="utf-8"), name


def test_the_inputs_that_are_stated_are_those_that_are_tried() -> None:
    said = (PROJECT / "docs/operating.md").read_text(encoding="utf-8")
    drawn = [
        int(number)
        for file in sorted((PROJECT / "tests/services/imports").glob("test_*.py"))
        for number in re.findall(r"times\((\d+)\)", file.read_text(encoding="utf-8"))
    ]
    large = int(re.findall(r"EARSHOT_TEST_INPUTS=(\d+)", (PROJECT / "Makefile").read_text(encoding="utf-8"))[0])
    many = f"{sum(number * large // 12 for number in drawn):,}"
    assert f"{sum(drawn)} files of listens" in said and f"{many} files" in said and f"{large} for each route" in said
    assert f"{300 * large // 12:,} for each protocol" in said
    assert "120 sets of headers" in said and f"{10 * large:,} sets of headers" in said
