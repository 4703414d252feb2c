"""What every page shares: the rooms it links to, and the settings page of sections."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db import Database
from app.tables import Listener
from app.web import navigation


def test_every_room_of_the_navigation_is_there_and_knows_its_own_page(me: TestClient) -> None:
    for room in (*navigation.FIRST, *navigation.MORE):
        answer = me.get(room.href)
        assert answer.status_code == 200, room.href
        assert re.findall(r'<a href="([^"]+)" aria-current="page"', answer.text) == [room.href]


def test_a_song_belongs_to_the_room_where_songs_are_looked_up(me: TestClient, songs: list[int]) -> None:
    assert '<a href="/browse" aria-current="page"' in me.get(f"/songs/{songs[0]}").text


def test_a_stranger_is_shown_no_rooms(stranger: TestClient, me: TestClient) -> None:
    assert "<nav" not in stranger.get("/login").text


def test_the_time_zone_is_set_and_used(me: TestClient, db: Database, songs: list[int]) -> None:
    me.post("/listens", data={"song_id": str(songs[0]), "when": "2024-01-01T10:00:00"})
    assert me.post("/settings/time-zone", data={"zone": "Asia/Tokyo"}).status_code == 303
    assert "<option selected>Asia/Tokyo</option>" in me.get("/settings").text
    assert "1 Jan 2024, 19:00" in me.get("/listens").text


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "../etc/passwd", "\ud800", "x" * 500])
def test_a_time_zone_that_is_none_is_refused_and_changes_nothing(me: TestClient, db: Database, zone: str) -> None:
    answer = me.post("/settings/time-zone", content=b"zone=" + zone.encode("utf-8", "surrogatepass"),
                     headers={"content-type": "application/x-www-form-urlencoded"})  # fmt: skip
    assert answer.status_code == 422
    with db.read() as session:
        assert session.scalars(select(Listener.time_zone)).all() == ["UTC"]
