"""The rooms that every page links to. A new page joins a room by its path, or gets a line of its own here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """One link of the navigation. ``also`` are other first parts of paths that belong to it."""

    href: str
    label: str
    icon: str
    also: tuple[str, ...] = ()
    admin_only: bool = False

    def holds(self, path: str) -> bool:
        """Whether a page lies in this room."""
        first = "/" + path.split("/")[1]
        return first == self.href or first.lstrip("/") in self.also


# On a phone the first four stand in the bar at the bottom and the others behind "More".
FIRST = (
    Room("/", "Home", "home"),
    Room("/recommend", "For you", "spark", ("lists",)),
    Room("/taste", "Taste", "taste"),
    Room("/friends", "Friends", "friends"),
)
MORE = (
    Room("/browse", "Browse", "browse", ("genres", "decades", "artists", "songs")),
    Room("/playlists", "Playlists", "playlist"),
    Room("/listens", "Listens", "listens", ("import", "export")),
    Room("/settings", "Settings", "settings"),
    Room("/admin", "Administration", "admin", admin_only=True),
)


def rooms(is_admin: bool) -> tuple[tuple[Room, ...], tuple[Room, ...]]:
    """The first rooms and the others, as one listener may enter them."""
    return FIRST, tuple(room for room in MORE if is_admin or not room.admin_only)
