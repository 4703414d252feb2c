"""liblistenbrainz and pylast, unmodified from the package registry, against the running server."""

from __future__ import annotations

from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db import Database
from app.services import playing, tokens
from app.tables import Feedback, Listen, Listener, Song
from tests.clients.conftest import Client, example
from tests.web.conftest import browser


def logged(db: Database) -> list[tuple[str, str, str | None, str]]:
    """Artist, title, album and source of everything logged, oldest first."""
    with db.read() as session:
        rows = session.execute(select(Song, Listen).join(Listen).order_by(Listen.listened_at, Listen.id)).all()
        return [(song.artist, song.title, listen.album, listen.source) for song, listen in rows]


def test_the_documented_example_of_liblistenbrainz_works_as_it_stands(
    plain: Client, db: Database, admin: Listener
) -> None:
    said = plain.run(example("liblistenbrainz"))
    assert said.split(" ", 1)[1] == "Nina Simone Sinnerman\n"
    assert logged(db) == [("Nina Simone", "Sinnerman", "Pastel Blues", "ListenBrainz: Player")]
    with db.read() as session:
        now = playing.of(session, admin.id)
    assert now is not None and now.title == "Sinnerman"


LIBLISTENBRAINZ = """
import os, liblistenbrainz as lb
from liblistenbrainz.errors import InvalidAuthTokenException, ListenBrainzAPIException
client = lb.ListenBrainz(api_base_url=os.environ["EARSHOT_URL"])
try:
    client.set_auth_token("nonsense")
    raise SystemExit("a wrong token was taken")
except InvalidAuthTokenException:
    pass
client.set_auth_token(os.environ["EARSHOT_TOKEN"])
AT, MBID = 1_700_000_000, "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"
many = [lb.Listen(f"Song {n}", "Nina Simone", listened_at=AT + 1000 * n) for n in range(40)]
client.submit_multiple_listens(many)
client.submit_single_listen(lb.Listen("Sinnerman", "Nina Simone", listened_at=AT + 90_000, recording_mbid=MBID,
    tags=["soul"], artist_mbids=[MBID], additional_info={"duration_ms": 622_000}))
assert client.get_user_listen_count("Ana") == 41
assert [one.track_name for one in client.get_listens("Ana", count=2)] == ["Sinnerman", "Song 39"]
assert [one.track_name for one in client.get_listens("Ana", max_ts=AT + 1000)] == ["Song 0"]
assert client.get_playing_now("Ana") is None
client.submit_playing_now(lb.Listen("Feeling Good", "Nina Simone"))
assert client.get_playing_now("Ana").track_name == "Feeling Good"
client.submit_user_feedback(1, MBID)
loved = client.get_user_feedback("Ana", 1, False)["feedback"]
assert [(one["recording_mbid"], one["score"]) for one in loved] == [(MBID, 1)], loved
client.delete_listen(client.get_listens("Ana", count=1)[0])
assert client.get_user_listen_count("Ana") == 40
for wrong in (lambda: client.get_listens("Nobody"), lambda: client.get_listens("Ana", max_ts=5, min_ts=5),
              lambda: client.submit_single_listen(lb.Listen("a", "b", listened_at=5))):
    try:
        wrong()
        raise SystemExit("no error came back")
    except ListenBrainzAPIException as problem:
        assert problem.status_code in (400, 404) and problem.message, problem.status_code
assert client.remaining_requests > 0 and client.ratelimit_reset_in > 0
"""


def test_liblistenbrainz_does_everything_that_it_can(plain: Client, db: Database) -> None:
    plain.run(LIBLISTENBRAINZ)
    assert len(logged(db)) == 40


def test_the_documented_example_of_pylast_works_as_it_stands(https: Client, db: Database, admin: Listener) -> None:
    https.run(example("pylast"))
    album = "I Put a Spell on You"
    assert logged(db) == [("Nina Simone", "Feeling Good", album, "Audioscrobbler: Player")]
    with db.read() as session:
        now = playing.of(session, admin.id)
        assert now is not None and now.title == "Feeling Good"
        assert session.scalars(select(Feedback.verdict)).all() == ["love"]


PYLAST = """
import os, pylast
def network():
    made = pylast.LastFMNetwork(api_key="any", api_secret="any")
    made.ws_server = (os.environ["EARSHOT_HOST_AND_PORT"], "/2.0/")
    return made
name, token = os.environ["EARSHOT_NAME"], os.environ["EARSHOT_TOKEN"]
def error(call):
    try:
        call()
    except pylast.WSError as problem:
        return int(problem.status)
    raise SystemExit("no error came back")
keys = pylast.SessionKeyGenerator(network())
assert error(lambda: keys.get_session_key(name, pylast.md5("wrong"))) == pylast.STATUS_AUTH_FAILED
lost = network()
lost.session_key = "nonsense"
assert error(lambda: lost.scrobble("Queen", "39", 1_700_000_000)) == pylast.STATUS_INVALID_SK
mine = network()
mine.session_key = pylast.SessionKeyGenerator(mine).get_session_key(name, pylast.md5(token))
AT = 1_700_000_000
mine.scrobble_many([{"artist": "Queen", "title": f"Song {n} & <x>", "timestamp": AT + 1000 * n} for n in range(70)])
track = mine.get_track("Queen", "Song 5 & <x>")
track.love()
track.unlove()
assert error(lambda: mine.get_user(name).get_playcount()) == pylast.STATUS_INVALID_METHOD
"""


def test_pylast_scrobbles_in_batches_signs_in_loves_and_understands_our_errors(https: Client, db: Database) -> None:
    https.run(PYLAST)
    assert [title for _, title, *_ in logged(db)] == [f"Song {n} & <x>" for n in range(70)]


WEB_AUTH = """
import os, sys, pylast
network = pylast.LastFMNetwork(api_key="any", api_secret="any")
network.ws_server = (os.environ["EARSHOT_HOST_AND_PORT"], "/2.0/")
network.homepage = "https://" + os.environ["EARSHOT_HOST_AND_PORT"]
waiting = pylast.SessionKeyGenerator(network)
url = waiting.get_web_auth_url()
print(url, flush=True)
sys.stdin.readline()
key, name = waiting.get_web_auth_session_key_username(url)
network.session_key = key
network.scrobble("Queen", "39", 1_700_000_000)
print(name)
"""


def test_pylast_is_let_in_on_our_page(
    https: Client, app: FastAPI, stranger: TestClient, db: Database, admin: Listener
) -> None:
    import subprocess
    import sys
    from urllib.parse import urlsplit

    program = subprocess.Popen(
        [sys.executable, "-c", WEB_AUTH],
        env=https.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    url = urlsplit(program.stdout.readline().strip())
    me = browser(app, db, admin)
    assert me.get(f"{url.path}?{url.query}").status_code == 200
    secret = url.query.rsplit("token=", 1)[1]
    assert me.post(url.path, data={"token": secret, "name": "pylast", "scopes": "submit"}).status_code == 200
    said, _ = program.communicate("\n", timeout=120)
    assert (program.returncode, said.strip()) == (0, "Ana")
    assert logged(db) == [("Queen", "39", None, "Audioscrobbler: pylast")]
    with db.read() as session:
        assert {made.name for made in tokens.mine(session, admin.id)} == {"Player", "pylast"}
