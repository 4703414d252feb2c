"""The circle's adapter on the Friends page: opt in, train, opt out."""

from __future__ import annotations

from fastapi.testclient import TestClient

from app.db import Database
from app.services import circle_adapter, listens
from app.settings import Settings
from app.tables import Listener, Song


def play(db: Database, listener: Listener, count: int) -> None:
    """Log so many different songs."""
    with db.write() as session:
        for song in range(1, count + 1):
            listens.log(session, listener.id, song_id=session.get_one(Song, song).id, at=1_700_000_000)


def test_one_takes_part_and_stops_on_the_friends_page(me: TestClient, db: Database, ana: Listener) -> None:
    page = me.get("/friends").text
    assert "You do not take part" in page and "Take part</button>" in page and "Train it again" not in page
    assert me.post("/friends/circle", data={"join": "on"}).headers["location"] == "/friends#circle"
    assert "You take part." in (page := me.get("/friends").text) and "1 takes part, 0 of them" in " ".join(page.split())
    me.post("/friends/circle", data={"join": "off"})
    assert "You do not take part" in me.get("/friends").text


def test_members_may_train_it_and_others_not(
    me: TestClient, friend: TestClient, db: Database, ana: Listener, ben: Listener, settings: Settings
) -> None:
    for listener in (ana, ben):
        play(db, listener, settings.min_songs)
    assert me.post("/friends/circle/retrain").status_code == 403
    me.post("/friends/circle", data={"join": "on"})
    assert me.post("/friends/circle/retrain").status_code == 409
    friend.post("/friends/circle", data={"join": "on"})
    assert "A training waits for the worker." in me.get("/friends").text
    with db.write() as session:
        job = circle_adapter.active_job(session)
        assert job is not None
        session.delete(job)
    assert "Train it again" in me.get("/friends").text
    assert me.post("/friends/circle/retrain").status_code == 303
    with db.read() as session:
        assert circle_adapter.active_job(session) is not None
