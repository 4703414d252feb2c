"""The one string by which the model reads a song."""

from __future__ import annotations

import pytest

from app.lm.song_text import song_text


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (("Nina Simone", "Sinnerman", ["jazz"], ["driving"], 1965), "Sinnerman by Nina Simone. jazz, driving. 1965"),
        (("Nina Simone", "Sinnerman"), "Sinnerman by Nina Simone"),
        (("Nina Simone", "Sinnerman", ["jazz", "soul"]), "Sinnerman by Nina Simone. jazz, soul"),
        (("Nina Simone", "Sinnerman", [], ["driving"]), "Sinnerman by Nina Simone. driving"),
        (("Nina Simone", "Sinnerman", [], [], 1965), "Sinnerman by Nina Simone. 1965"),
        (("Nina Simone", "", ["jazz"]), "Nina Simone. jazz"),
        (("Nina Simone", ""), "Nina Simone"),
    ],
)
def test_what_is_not_known_leaves_no_trace_in_the_text(facts: tuple[str, str], text: str) -> None:
    assert song_text(*facts) == text


def test_a_title_without_end_is_cut() -> None:
    text = song_text("Nina Simone", "la " * 5_000_000, ["jazz"] * 100_000, year=1965)
    assert len(text) < 700
    assert text.endswith(". 1965")
