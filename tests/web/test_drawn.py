"""Parts of pages are drawn once for each object that they show, and go with it."""

from __future__ import annotations

import gc

from fastapi import FastAPI
from starlette.testclient import TestClient

from app.services.recommending import Recommended
from app.web.drawn import Drawn


def nothing() -> Recommended:
    """A list; all such are equal, and none is another."""
    return Recommended((), None, False)


def test_a_part_is_drawn_once_for_an_object_and_an_address() -> None:
    drawn, first, equal = Drawn(), nothing(), nothing()
    assert first == equal
    assert drawn.of(first, "/a", lambda: "one") == "one"
    assert drawn.of(first, "/a", lambda: "two") == "one"
    assert drawn.of(first, "/b", lambda: "two") == "two"
    assert drawn.of(equal, "/a", lambda: "three") == "three"


def test_what_was_drawn_goes_with_what_it_showed() -> None:
    drawn, shown = Drawn(), nothing()
    drawn.of(shown, "/a", lambda: "one")
    drawn.of(shown, "/b", lambda: "two")
    del shown
    gc.collect()
    assert len(drawn) == 0


def test_a_list_asked_again_is_drawn_once_and_anew_when_something_was_said_of_its_songs(
    app: FastAPI, me: TestClient, songs: list[int]
) -> None:
    for song in songs[:5]:
        assert me.post("/listens", data={"song_id": song}).status_code == 303
    me.get("/recommend")
    drawn: Drawn = app.state.earshot.drawn
    first = me.get("/recommend").text
    assert first.count("data-song=") == 20 and me.get("/recommend").text == first and len(drawn) == 1
    song = first.split('data-song="')[1].split('"')[0]
    assert me.post(f"/songs/{song}/feedback", data={"verdict": "dislike"}).status_code == 303
    after = me.get("/recommend").text
    assert after.count("data-song=") == 20 and f'data-song="{song}"' not in after and len(drawn) == 1
