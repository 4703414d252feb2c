"""Templates, the state that routes share, and how an error looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit
from zlib import crc32
from zoneinfo import ZoneInfo

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from app.db import Database
from app.errors import EarshotError, NotSignedIn
from app.services import elsewhere
from app.services.imports.runner import Runner
from app.services.lifting import Friends
from app.services.recommending import EngineTypes
from app.services.remembering import Remembered
from app.settings import Settings
from app.tables import Song, now
from app.web import navigation
from app.web.drawn import Drawn
from app.web.encoding_later import EncodingLater
from app.web.limits import Limiter
from app.web.rate import Rate

if TYPE_CHECKING:
    from app.lm.engine import Engine

HERE = Path(__file__).parent
STATIC = HERE / "static"


class EngineSource(Protocol):
    """Gives the engine when a route needs it, which may wait for the base to load."""

    @property
    def ready(self) -> bool: ...

    def get(self) -> Engine: ...


@dataclass(frozen=True, slots=True)
class State:
    """What every route may use; lives in ``app.state.earshot``."""

    settings: Settings
    db: Database
    engine: EngineSource
    kinds: EngineTypes
    limiter: Limiter
    imports: Runner
    lists: Remembered
    wake_worker: Callable[[], None]  # never waits and never fails
    friends: Friends = field(default_factory=Friends)
    drawn: Drawn = field(default_factory=Drawn)
    later: EncodingLater = field(default_factory=EncodingLater)
    rate: Rate = field(default_factory=Rate)
    streams: Counter[str] = field(default_factory=Counter)  # open ones by listener


def state_of(request: Request) -> State:
    """The shared state of the app that serves this request."""
    state: State = request.app.state.earshot
    return state


def _when(at: int | None, zone: str = "UTC") -> str:
    """A time as a person reads it, in their zone."""
    if at is None:
        return "undated"
    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)).strftime("%-d %b %Y, %H:%M")


def _ago(at: int | None, zone: str = "UTC") -> str:
    """A time as a person says it: how long ago, from a week on the day."""
    if at is None:
        return "undated"
    passed = max(0, now() - at)
    if passed < 90:
        return "just now"
    for most, unit, name in ((5400, 60, "min"), (129_600, 3600, "h"), (604_800, 86_400, "days")):
        if passed < most:
            return f"{round(passed / unit)} {name} ago"
    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)).strftime("%-d %b %Y")


def _field_time(at: int | None, zone: str = "UTC") -> str:
    """The value of a datetime-local field."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M:%S")


def _part(value: str) -> str:
    """A value as one part of a path or query of ours."""
    return quote(value, safe="")


def _cover(song: Song) -> str:
    """The classes of a song's tile: songs of one genre share the colour, songs of one artist the pattern."""
    hue = crc32(song.genres[0].encode()) % 12 if song.genres else crc32(song.artist_key.encode()) % 12
    return f"hue-{hue} cut-{crc32(song.artist_key.encode()) % 6}"


def _size(count: int) -> str:
    if count < 1 << 20:
        return f"{count / 1024:,.0f} KB"
    return f"{count / (1 << 20):,.1f} MB" if count < 1 << 30 else f"{count / (1 << 30):,.1f} GB"


_BROWSERS = (("Firefox/", "Firefox"), ("Edg/", "Edge"), ("OPR/", "Opera"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def _browser(agent: str) -> str:
    """A User-Agent as a person says it; one that is no usual browser's stands as it is."""
    name = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    if not name:
        return agent or "A browser that does not say its name"
    return f"{name} on {system}" if system else name


templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
templates.filters |= {
    "part": _part, "when": _when, "ago": _ago, "elsewhere": elsewhere.links, "field_time": _field_time, "size": _size,
    "cover": _cover, "browser": _browser,
}  # fmt: skip
templates.globals["rooms"] = navigation.rooms


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a template; ``who`` is the signed-in listener or None."""
    who = getattr(request.state, "who", None)
    html = templates.get_template(template).render(who=who, path=request.url.path, status=status, **values)
    return HTMLResponse(html.encode("utf-8", "replace"), status)


def go(path: str) -> RedirectResponse:
    """See another page of ours by GET."""
    return RedirectResponse(path, 303)


def local_path(path: str, otherwise: str) -> str:
    """A path of this app from outside, or ``otherwise``: never another host."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and not any(c < " " or c == "\\" for c in path)
    return quote(path, safe="/?&=%+#") if safe and len(path) < 500 else otherwise


def with_query(path: str, **values: str | int) -> str:
    """A path of ours with more in its query, before the fragment; a value given before is replaced."""
    parts = urlsplit(path)
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | {name: str(value) for name, value in values.items()}
    return urlunsplit(("", "", parts.path, urlencode(query), parts.fragment))


def wants_json(request: Request) -> bool:
    """Whether a script of ours or another program asks."""
    accepted = request.headers.get("accept", "")
    path = request.url.path
    for_programs = path.startswith("/api/") and not path.startswith("/api/auth")  # that one is a page
    return for_programs or ("application/json" in accepted and "text/html" not in accepted)


def answer_error(request: Request, problem: EarshotError) -> Response:
    """A named error as JSON or as a page; who is not signed in is sent to do so."""
    if wants_json(request):
        return _with_wait(
            JSONResponse({"error": type(problem).__name__, "message": _safe(problem)}, problem.status), problem
        )
    if isinstance(problem, NotSignedIn) and request.method in ("GET", "HEAD"):
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return go("/login" if here == "/" else f"/login?next={quote(here, safe='')}")
    return _with_wait(page(request, "error.html", problem.status, message=_safe(problem)), problem)


def _with_wait(response: Response, problem: EarshotError) -> Response:
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def _safe(problem: EarshotError) -> str:
    return str(problem).encode("utf-8", "backslashreplace").decode()
