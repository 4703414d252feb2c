"""Words from outside: checked at the door, kept as given (NFC), matched in folded form."""

from __future__ import annotations

import re
import unicodedata

from app.errors import BadInput

LONGEST = 500
_ID = re.compile(r"[0-9a-f]{16}")
_SPACE = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# "(feat. X)", "[2011 Remaster]", "- Remastered 2009": notes that do not make it another song.
_NOTE = re.compile(
    r"\s*[\(\[][^()\[\]]*\b(?:feat|ft|featuring|remaster(?:ed)?)\b[^()\[\]]*[\)\]]"
    r"|\s+-\s+(?:\d{4}\s+)?remaster(?:ed)?(?:\s+\d{4})?(?:\s+version)?\s*$",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:the)\s+(?=\S)")


def is_id(value: str) -> bool:
    """Whether a value from outside can be an id of ours, and be asked of any database: 16 hex digits."""
    return _ID.fullmatch(value) is not None


def show(value: str, most: int = 40) -> str:
    """A value fit for an error message: short, and safe to encode."""
    short = value if len(value) <= most else value[:most] + "…"
    return repr(short.encode("utf-8", "backslashreplace").decode())


def clean(value: str, what: str, *, most: int = LONGEST, required: bool = True) -> str:
    """A line of text from outside, NFC, outer space removed.

    Raises BadInput, naming ``what`` and the value, for NUL and other control characters, lone surrogates, too many
    characters, or nothing at all when something is required.
    """
    if len(value) > most:
        raise BadInput(f"{what} has {len(value):,} characters; at most {most} are taken ({show(value)})")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInput(f"{what} has a character that is no valid Unicode: {show(value)}") from None
    if _CONTROL.search(value):
        raise BadInput(f"{what} has a control character: {show(value)}")
    tidy = _SPACE.sub(" ", unicodedata.normalize("NFC", value)).strip()
    if required and not tidy:
        raise BadInput(f"{what} is empty")
    return tidy


def fold(value: str) -> str:
    """The form in which names are matched: NFKC, case folded, inner space single."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", value).casefold()).strip()


def artist_key(artist: str) -> str:
    """An artist for matching; a leading "the" does not count."""
    folded = fold(artist)
    return _ARTICLE.sub("", folded) or folded


def title_key(title: str) -> str:
    """A title for matching; bracketed feat. and remaster notes do not count."""
    folded = fold(title)
    return fold(_NOTE.sub("", folded)) or folded


def plain(value: str) -> str:
    """The form in which songs are searched: folded, accents and punctuation removed."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", value).casefold())
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    words = "".join(c if c.isalnum() else " " for c in letters.replace("'", "").replace("’", ""))
    return unicodedata.normalize("NFC", _SPACE.sub(" ", words).strip())
