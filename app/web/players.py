"""Players and how each is told where this server is: the exact text for its settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Player:
    """One player or program. ``address`` and ``steps`` hold {root} for this server's own address, without a slash."""

    name: str
    scopes: str
    address: str
    steps: str


PLAYERS = (
    Player(
        "Navidrome", "submit", "{root}/1/",
        "Set ND_LISTENBRAINZ_BASEURL (or ListenBrainz.BaseURL) to the address, restart Navidrome, then link "
        "ListenBrainz under Personal with the token.",
    ),
    Player(
        "Pano Scrobbler", "submit read", "{root}/",
        "Add service → ListenBrainz-compatible; the address as API URL, and the token. "
        "It shows your listens too, so let it read.",
    ),
    Player(
        "Web Scrobbler", "submit", "{root}/1/submit-listens",
        "Options → Accounts → ListenBrainz: set the address as API URL, and the token. "
        "Leave its heart alone: it sends loves, with the token, to listenbrainz.org instead.",
    ),
    Player(
        "multi-scrobbler", "submit", "{root}",
        "A ListenBrainz client: the address as url in its data, the token as token, your name as username.",
    ),
    Player(
        "Last.fm-compatible players", "submit", "{root}/2.0/",
        "As the address of the API (Libre.fm or GNU FM, custom). Your name, and the token as the password.",
    ),
    Player(
        "liblistenbrainz (Python)", "submit read", "{root}",
        "ListenBrainz(api_base_url=address), then set_auth_token(token).",
    ),
    Player(
        "pylast (Python)", "submit", "{root}/2.0/",
        'network.ws_server = (host, "/2.0/"); your name, and md5 of the token as password_hash. It speaks HTTPS only.',
    ),
    Player(
        "Anything else for ListenBrainz", "submit", "{root}/apis/listenbrainz/1/",
        "If it wants a root address: the same without the 1/. The address of the API and the token.",
    ),
)  # fmt: skip


def addressed(root: str) -> list[tuple[Player, str]]:
    """Each player with its exact address on this server."""
    return [(player, player.address.format(root=root.rstrip("/"))) for player in PLAYERS]
