"""Where else a song can be heard or looked up: plain search links, nothing is fetched from there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, quote_plus

from app.tables import Song

# What stands before the words, and whether they are a part of the path.
_SERVICES: Sequence[tuple[str, str, bool]] = (
    ("YouTube", "https://www.youtube.com/results?search_query=", False),
    ("Spotify", "https://open.spotify.com/search/", True),
    ("Apple Music", "https://music.apple.com/search?term=", False),
    ("Deezer", "https://www.deezer.com/search/", True),
    ("Tidal", "https://tidal.com/search?q=", False),
    ("Bandcamp", "https://bandcamp.com/search?q=", False),
    ("SoundCloud", "https://soundcloud.com/search?q=", False),
    ("MusicBrainz", "https://musicbrainz.org/search?type=recording&query=", False),
)
_MOST = 200


def links(song: Song) -> list[tuple[str, str]]:
    """(service, address) of a search for a song at each of the usual services."""
    return _links(f"{song.artist} {song.title}"[:_MOST].encode("utf-8", "replace").decode())


@lru_cache(maxsize=2000)
def _links(words: str) -> list[tuple[str, str]]:
    return [(name, before + (quote(words, safe="") if path else quote_plus(words))) for name, before, path in _SERVICES]
