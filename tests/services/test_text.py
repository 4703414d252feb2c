"""Text from outside: taken, refused, folded."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadInput
from app.services.text import LONGEST, artist_key, clean, fold, plain, show, title_key

# Any code point at all: lone surrogates and control characters too.
ANYTHING = st.text(st.characters(codec=None), max_size=60)


@pytest.mark.parametrize("value", ["a\x00b", "a\x07", "\x1b[31m", "a\x7f", "a\x0bb", "a\nb\x00"])
def test_control_characters_are_refused_by_name(value: str) -> None:
    with pytest.raises(BadInput, match="The title has a control character"):
        clean(value, "The title")


@pytest.mark.parametrize("value", ["\ud800", "fine\udfff", "\udc80\ud800"])
def test_lone_surrogates_are_refused_and_the_message_can_be_encoded(value: str) -> None:
    with pytest.raises(BadInput, match="no valid Unicode") as caught:
        clean(value, "The title")
    str(caught.value).encode("utf-8")


def test_a_title_of_ten_megabytes_is_refused_with_a_short_message() -> None:
    with pytest.raises(BadInput, match="10,000,000 characters") as caught:
        clean("x" * 10_000_000, "The title")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", ["", "   ", "\u3000\u2003"])
def test_nothing_at_all_is_refused_where_something_is_needed(value: str) -> None:
    with pytest.raises(BadInput, match="is empty"):
        clean(value, "The artist")
    assert clean(value, "The wish", required=False) == ""


def test_text_is_kept_as_nfc_with_single_spaces() -> None:
    assert clean("  Beyonce\u0301\u2003 Knowles ", "The artist") == "Beyoncé Knowles"
    assert clean("x" * LONGEST, "The title") == "x" * LONGEST


@given(ANYTHING)
def test_clean_gives_encodable_tidy_text_or_bad_input(value: str) -> None:
    try:
        tidy = clean(value, "The title")
    except BadInput as problem:
        str(problem).encode("utf-8")
        return
    assert tidy.encode("utf-8") and tidy == tidy.strip() and "\x00" not in tidy
    assert unicodedata.is_normalized("NFC", tidy)
    assert clean(tidy, "The title") == tidy


@given(ANYTHING)
def test_any_value_can_be_shown_in_a_message(value: str) -> None:
    assert len(show(value).encode("utf-8")) < 1000


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Beatles", "beatles"),
        ("THE  BEATLES", "The Beatles"),
        ("Beyonce\u0301", "BEYONCÉ"),
        ("Motörhead", "MOTÖRHEAD"),
        ("ＡＢＢＡ", "abba"),
        ("Straße", "STRASSE"),
    ],
)
def test_an_artist_is_one_however_it_is_written(one: str, other: str) -> None:
    assert artist_key(one) == artist_key(other)


@pytest.mark.parametrize("name", ["The The", "The", "Theory of a Deadman", "Thé"])
def test_an_article_is_dropped_only_where_a_name_remains(name: str) -> None:
    assert artist_key(name)
    assert artist_key("The The") == "the"
    assert artist_key("Theory of a Deadman") != artist_key("ory of a Deadman")


@pytest.mark.parametrize(
    "note",
    [
        " (feat. Rihanna)", " [feat. Rihanna]", " (ft. Rihanna)", " (featuring Rihanna)", " (2011 Remaster)",
        " [Remastered]", " - Remastered 2009", " - 2009 Remaster", " - Remastered Version",
    ],
)  # fmt: skip
def test_notes_do_not_make_another_song(note: str) -> None:
    assert title_key("Umbrella" + note) == title_key("umbrella")


@pytest.mark.parametrize("title", ["Umbrella (Live)", "Umbrella (Acoustic)", "Umbrella - Part 2", "Umbrella II"])
def test_another_recording_is_another_song(title: str) -> None:
    assert title_key(title) != title_key("Umbrella")


def test_a_title_that_is_all_note_keeps_a_key() -> None:
    assert title_key("(feat. Nobody)")


@given(st.text(max_size=60))
def test_folding_twice_is_folding_once(value: str) -> None:
    assert plain(plain(value)) == plain(value)
    assert fold(value) == fold(f"  {value} ")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_every_clean_name_has_a_key(value: str) -> None:
    try:
        name = clean(value, "x")
    except BadInput:
        return
    assert artist_key(name) and title_key(name)
