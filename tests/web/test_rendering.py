"""How numbers and names of other places are written on the pages."""

from __future__ import annotations

import re

import pytest

from app.web import pictures
from app.web.rendering import STATIC, templates

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1"


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (CHROME, "Chrome on Linux"),
        (IPHONE, "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0; rv:127.0) Gecko/20100101 Firefox/127.0", "Firefox on Windows"),
        (CHROME.replace("Safari/537.36", "Safari/537.36 Edg/126.0"), "Edge on Linux"),
        ("curl/8.5", "curl/8.5"),
        ("", "A browser that does not say its name"),
    ],
)
def test_a_browser_is_called_as_people_call_it(agent: str, said: str) -> None:
    assert templates.filters["browser"](agent) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 KB"), (2048, "2 KB"), (3 << 20, "3.0 MB"), (67 << 30, "67.0 GB"), (1536 << 30, "1,536.0 GB")],
)
def test_sizes_have_the_unit_that_they_are_read_in(count: int, said: str) -> None:
    assert templates.filters["size"](count) == said


def test_names_on_the_map_do_not_run_into_each_other() -> None:
    close = [("electronic", (0.0, 0.0)), ("dance-pop", (0.1, 0.02)), ("jazz", (0.0, 0.2)), ("rock", (-0.8, 0.01))]
    assert [name for name, _ in pictures._apart(close)] == ["electronic", "jazz", "rock"]


def test_every_property_that_the_stylesheets_use_is_set_in_one() -> None:
    css = "".join(sheet.read_text(encoding="utf-8") for sheet in STATIC.glob("*.css"))
    assert set(re.findall(r"var\((--[\w-]+)", css)) <= set(re.findall(r"(--[\w-]+):", css))
