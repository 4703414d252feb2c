"""Shapes of administration."""

from __future__ import annotations

from app.web.api.shapes import Shape, shown


class PersonOut(Shape):
    """One listener as the administrator sees them: no titles of songs."""

    model_config = shown(
        id="0123456789abcdef", name="Ben", is_admin=False, can_sign_in=True, created_at=1_700_000_000,
        seen_at=1_700_000_500, listens=1200,
    )  # fmt: skip
    id: str
    name: str
    is_admin: bool
    can_sign_in: bool
    created_at: int
    seen_at: int | None
    listens: int


class PeopleOut(Shape):
    """Everybody, by name."""

    people: list[PersonOut]


class Rights(Shape):
    """Whether somebody is to be an administrator."""

    model_config = shown(admin=True)
    admin: bool


class LinkMadeOut(Shape):
    """An open link and who made it. ``key`` ends it."""

    model_config = shown(key="0123456789abcdef", by="Ana", created_at=1_700_000_000, expires_at=1_701_000_000)
    key: str
    by: str
    created_at: int
    expires_at: int


class LinksMadeOut(Shape):
    """Everybody's open links."""

    invites: list[LinkMadeOut]


class AnyJobOut(Shape):
    """Somebody's retrain."""

    model_config = shown(
        id="fedcba9876543210", person_id="0123456789abcdef", name="Ben", kind="taste", state="running",
        phase="learning", step=3, of=40, active=True, created_at=1_700_000_000,
    )  # fmt: skip
    id: str
    person_id: str
    name: str
    kind: str
    state: str
    phase: str
    step: int
    of: int
    active: bool
    created_at: int


class AnyJobsOut(Shape):
    """The newest retrains of everybody."""

    jobs: list[AnyJobOut]


class ChoreOut(Shape):
    """What the worker does now and then, and how it went."""

    model_config = shown(name="backup", due_at=None, done_at=1_700_000_000, said="12 MB", error="", failures=0)
    name: str
    due_at: int | None
    done_at: int | None
    said: str
    error: str
    failures: int


class StorageOut(Shape):
    """Bytes below a place of the data."""

    model_config = shown(name="adapters", size=1_400_000)
    name: str
    size: int


class HealthOut(Shape):
    """What is not there yet (empty: nothing is missing), chores, storage, and backups, newest first."""

    missing: list[str]
    chores: list[ChoreOut]
    storage: list[StorageOut]
    backups: list[str]
