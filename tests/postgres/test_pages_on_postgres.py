"""Pages on PostgreSQL, which takes no NUL in a text: an address or a form with one is refused, and no error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.db import Database
from app.main import create_app
from app.services import accounts
from app.settings import Settings
from tests.web.conftest import SAME_SITE, browser

pytestmark = pytest.mark.postgres


@pytest.fixture
def mine(url: str, db: Database, tmp_path: Path) -> Iterator[TestClient]:
    """An administrator's browser; the base is not loaded."""
    with db.write() as session:
        ana = accounts.add_listener(session, "Ana", None, is_admin=True)
    made = create_app(Settings(home=tmp_path, database_url=url), warm=False)
    with TestClient(made, headers=SAME_SITE):
        yield browser(made, db, ana)


@pytest.mark.parametrize("path", [
    "/lists/%00", "/playlists/%00", "/import/%00", "/recommend?wish=a%00b", "/recommend?mode=%00",
    "/recommend?adventure=99999999999999999999", "/recommend?hid=%00", "/friends/%00", "/blends/%00", "/join/%00",
    "/api/v1/lists/%00", "/api/v1/playlists/%00", "/api/v1/imports/%00", "/api/v1/friends/%00", "/api/songs?q=a%00b",
])  # fmt: skip
def test_no_address_makes_an_error(mine: TestClient, path: str) -> None:
    assert mine.get(path).status_code < 500


@pytest.mark.parametrize(("path", "form"), [
    ("/login", {"name": "a\0b", "password": "x"}), ("/playlists", {"name": "x", "list_id": "\0"}),
    ("/playlists/add", {"playlist": "\0", "song": "1"}), ("/artists/hide", {"artist": "a\0b"}),
    ("/taste/live", {"version": "\0"}), ("/import/%00/undo", {}), ("/admin/jobs/%00/cancel", {}),
    ("/settings/sessions/end", {"session": "\0"}), ("/friends/invite/revoke", {"link": "\0"}),
    ("/settings/tokens/%00/revoke", {}), ("/join/%00", {"name": "a\0b", "password": "a good long password"}),
])  # fmt: skip
def test_no_form_makes_an_error(mine: TestClient, path: str, form: dict[str, str]) -> None:
    assert 400 <= mine.post(path, data=form).status_code < 500
