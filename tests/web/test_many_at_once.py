"""Many listeners ask over HTTP at the same time, each through an adapter of their own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI

from app.db import Database
from app.lm.engine import Engine
from app.services import accounts, listens
from app.tables import AdapterVersion, Listener, new_id
from tests.lm.making import peft_with_random_lora
from tests.web.test_pages import served

PEOPLE = 6


def give_adapter(db: Database, engine: Engine, listener: Listener, seed: int) -> str:
    """A version on disk and in the database, live, that moves every vector a good deal."""
    network = peft_with_random_lora(engine.base.upper_network(), engine.base.targets, rank=8, seed=seed)
    version = new_id()
    engine.store.write(
        listener.id,
        version,
        lambda folder: network.save_pretrained(folder, save_embedding_layers=False),
        {"base_fingerprint": engine.fingerprint},
    )
    held = {"ranks": [1], "gain": 0.5, "found": 1, "ndcg_10": 0.5, "of": 1, "within": 100}
    with db.write() as session:
        session.add(
            AdapterVersion(
                id=version, listener_id=listener.id, number=1, promoted=True, why="", before=held, after=held,
                base_fingerprint=engine.fingerprint, difference=0.1, low=0.0, high=0.2, learnt_from=8,
                trainable_parameters=1, base_parameters=2, size=1, seconds=1.0,
            )
        )  # fmt: skip
        session.get_one(Listener, listener.id).live_version = version
    return version


@pytest.fixture
def people(db: Database, engine: Engine, songs: list[int]) -> list[str]:
    """Session tokens of listeners who played other songs and have other adapters."""
    tokens = []
    for number in range(PEOPLE):
        with db.write() as session:
            listener = accounts.add_listener(session, f"Listener {number}", None)
            for song in songs[number :: 2 * PEOPLE][:8]:
                listens.log(session, listener.id, song_id=song)
            tokens.append(accounts.start_session(session, listener.id, 1))
        give_adapter(db, engine, listener, seed=number)
    return tokens


def test_everybody_gets_over_http_exactly_what_each_gets_alone(app: FastAPI, people: list[str]) -> None:
    with served(app) as url:

        def ask(token: str, wish: str = "") -> str:
            answer = httpx.get(
                f"{url}/recommend", params={"part": "1", "wish": wish}, cookies={"earshot": token}, timeout=60
            )
            assert answer.status_code == 200
            return answer.text

        alone = {(token, wish): ask(token, wish) for token in people for wish in ("", "rain")}
        assert len(set(alone.values())) == 2 * PEOPLE
        assert all("From your own adapter" in text for text in alone.values())
        together = threading.Barrier(PEOPLE)

        def ask_with_the_others(token: str) -> None:
            together.wait(30)
            for _ in range(3):
                for wish in ("rain", ""):
                    assert ask(token, wish) == alone[token, wish]

        with ThreadPoolExecutor(PEOPLE) as pool:
            for done in [pool.submit(ask_with_the_others, token) for token in people]:
                done.result()
