"""earshot: the shell's way to everything. Each command takes --json."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeGuard

import click
from pydantic import ValidationError
from sqlalchemy.exc import DatabaseError

from app import logs, upkeep
from app.cli_pretrain import add_to as add_pretrain
from app.cli_tune import add_to as add_tune
from app.cli_upkeep import add_to as add_upkeep
from app.db import Database
from app.errors import BadInput, EarshotError
from app.opening import KINDS, open_engine, open_store
from app.services import accounts, catalogue, examining, preparing, recommending, retraining
from app.settings import Settings
from app.tables import AdapterVersion, Job

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.resting import Rest


class Shell:
    """What every command gets: settings, a database, and one way to answer."""

    def __init__(self) -> None:
        try:
            self.settings = Settings()
        except ValidationError as problem:
            first = problem.errors()[0]
            raise BadInput(f"EARSHOT_{str(first['loc'][0]).upper()}: {first['msg']}.") from None
        self.as_json = False
        self._db: Database | None = None

    @property
    def db(self) -> Database:
        """The database, brought to the newest revision."""
        if self._db is None:
            examining.check_file(self.settings.url)
            preparing.migrate(self.settings.url)
            self._db = Database(self.settings.url)
        return self._db

    def close(self) -> None:
        """Give the database's connections back."""
        if self._db is not None:
            self._db.close()

    def engine(self) -> Engine:
        """The base, loaded, with every core."""
        return open_engine(self.settings)

    def say(self, facts: dict[str, Any], words: str) -> None:
        """Print facts as JSON, or words for a person."""
        text = json.dumps(facts, ensure_ascii=False, allow_nan=False) if self.as_json else words
        click.echo(text.encode("utf-8", "replace").decode())


def _words(problem: Exception) -> str:
    """An error in one line; a disk or a database that cannot be used is no bug of ours."""
    if isinstance(problem, DatabaseError):
        return f"The database cannot be used: {problem.orig}. `earshot doctor` says more."
    return f"{problem.filename} cannot be written: {problem.strerror}." if _is_of_a_file(problem) else str(problem)


def _is_of_a_file(problem: Exception) -> TypeGuard[OSError]:
    return isinstance(problem, OSError) and problem.filename is not None


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command --json, the Shell, and named errors as one line on stderr with exit code 1."""

    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
    @wraps(function)
    def wrapped(as_json: bool, **values: Any) -> None:
        try:
            shell = Shell()
            shell.as_json = as_json
            logs.configure(shell.settings)
            try:
                function(shell, **values)
            finally:
                shell.close()
        except (EarshotError, OSError, DatabaseError) as problem:
            message = _words(problem).encode("utf-8", "backslashreplace").decode()
            if as_json:
                click.echo(json.dumps({"error": type(problem).__name__, "message": message}))
            click.echo(f"earshot: {message}", err=True)
            sys.exit(1)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Earshot: log songs with friends, ask for recommendations, retrain your taste."""


@main.command()
@command
def setup(shell: Shell) -> None:
    """Make everything ready: migrate, verify the base, load the starter songs, encode the catalogue."""
    engine = open_engine(shell.settings)
    with shell.db.write() as db:
        added, changed = catalogue.load_starter(db)
        songs = catalogue.count(db)
    encoded = preparing.encode_with_bar(shell.db, engine, KINDS.song_text)
    shell.say(
        {"songs": songs, "added": added, "changed": changed, "encoded": encoded, "base": engine.base.files.name},
        f"{songs:,} songs in the catalogue ({added:,} new, {encoded:,} encoded). The base is verified.",
    )


@main.command()
@command
def serve(shell: Shell) -> None:
    """Serve the pages, with one worker beside them. Ctrl-C stops both."""
    from app.serving import serve_with_worker

    shell.db.close()
    serve_with_worker(shell.settings)


@main.command()
@click.option("--parent", type=int, help="Stop when this process is no longer the parent.")
@command
def worker(shell: Shell, parent: int | None) -> None:
    """Run retrain jobs until stopped; `serve` starts one of these by itself.

    With --parent, bytes on standard input wake it, and it ends with code 10 to rest (EARSHOT_WORKER_REST_MINUTES).
    """
    from app.resting import RESTED, Rest

    run = _worker(shell, None if parent is None else Rest(shell.settings.worker_rest_minutes, sys.stdin.fileno()))
    run.stop_on_signals()
    if run.run(parent):
        sys.exit(RESTED)


def _worker(shell: Shell, rest: Rest | None = None) -> Any:
    from app.worker import Worker

    settings = shell.settings
    return Worker(
        shell.db, open_store(settings), lambda: open_engine(settings, settings.worker_threads), KINDS,
        lambda engine: upkeep.doings(shell.db, settings, engine, KINDS), settings.musicbrainz_url, settings.min_songs,
        rest,
    )  # fmt: skip


@main.group()
def user() -> None:
    """People of the circle."""


@user.command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="Make them an administrator.")
@command
def user_add(shell: Shell, name: str, admin: bool) -> None:
    """Add a listener and print a link by which they set their password."""
    with shell.db.write() as db:
        listener = accounts.add_listener(db, name, None, is_admin=admin)
        token = accounts.invite(db, None, shell.settings.invite_days, for_listener=listener.id)
    link = f"http://{shell.settings.host}:{shell.settings.port}/join/{token}"
    shell.say({"id": listener.id, "name": listener.name, "link": link}, f"{listener.name} is in. To sign in: {link}")


@user.command("reset-password")
@click.argument("name")
@command
def user_reset_password(shell: Shell, name: str) -> None:
    """Take a listener's password away, sign them out everywhere, and print a link by which they set a new one."""
    with shell.db.write() as db:
        listener = accounts.by_name(db, name)
        token = accounts.reset_password(db, listener, shell.settings.invite_days)
    link = f"http://{shell.settings.host}:{shell.settings.port}/join/{token}"
    shell.say(
        {"id": listener.id, "name": listener.name, "link": link},
        f"{listener.name} is signed out everywhere and has no password. To set one: {link}",
    )


@main.command()
@click.argument("name")
@click.option("--seed", default=0, help="Same songs, same seed, same machine: same adapter.")
@command
def retrain(shell: Shell, name: str, seed: int) -> None:
    """Retrain a listener's taste and wait for the verdict."""
    with shell.db.write() as db:
        listener = accounts.by_name(db, name)
        job_id = retraining.request(db, listener.id, shell.settings.min_songs, seed).id
    job = finished(shell, job_id)
    with shell.db.read() as db:
        made = db.get_one(AdapterVersion, job.version)
    shell.say(
        {
            "version": made.id, "number": made.number, "promoted": made.promoted, "before": made.before,
            "after": made.after, "seconds": round(made.seconds, 3), "why": made.why,
            "trainable_parameters": made.trainable_parameters, "base_parameters": made.base_parameters,
            "bytes": made.size,
        },
        f"Version {made.number}: {made.why}\n{made.trainable_parameters:,} numbers trained "
        f"({100 * made.trainable_parameters / made.base_parameters:.3f} % of the base), {made.size:,} bytes, "
        f"{made.seconds:.1f} s.",
    )  # fmt: skip


def finished(shell: Shell, job_id: str) -> Job:
    """Run a job here, or wait for the worker that has it. Raises an error that says how it ended without a version."""
    run = _worker(shell)
    job = _job(shell, job_id)
    while job.state in retraining.ACTIVE:
        if not run.once(only=job_id):
            time.sleep(0.2)  # another worker has it
            with shell.db.write() as db:
                retraining.reclaim(db, run.owner)
        job = _job(shell, job_id)
    if job.state not in ("promoted", "kept"):
        raise EarshotError(f"The retrain ended as {job.state}. {job.error}".strip())
    return job


def _job(shell: Shell, job_id: str) -> Job:
    with shell.db.read() as db:
        return db.get_one(Job, job_id)


@main.command()
@click.argument("name")
@click.option("-n", "--count", default=20, show_default=True, help="How many songs.")
@click.option("--wish", default="", help="What you feel like, in your own words.")
@click.option("--mode", default="discover", show_default=True, help="discover or familiar.")
@command
def recommend(shell: Shell, name: str, count: int, wish: str, mode: str) -> None:
    """Recommend songs to a listener, with reasons."""
    with shell.db.read() as db:
        listener = accounts.by_name(db, name)
        engine = open_engine(shell.settings)
        made = recommending.recommend(db, engine, KINDS, listener.id, mode=mode, wish=wish, count=count)
    facts: list[dict[str, Any]] = [
        {
            "artist": s.song.artist, "title": s.song.title, "score": round(s.score, 6),
            "reasons": [{"because": r.label, "share": round(r.share, 4)} for r in s.reasons],
        }
        for s in made.suggestions
    ]  # fmt: skip
    lines = [
        f"{place:3}. {f['title']} by {f['artist']}  ({f['score']:.3f})"
        + "".join(f"\n       because of {r['because']} ({100 * r['share']:.0f} %)" for r in f["reasons"])
        for place, f in enumerate(facts, 1)
    ]
    shell.say({"listener": listener.name, "version": made.version, "songs": facts}, "\n".join(lines) or "Nothing yet.")


@main.group()
def model() -> None:
    """The base."""


@model.command("show")
@command
def model_show(shell: Shell) -> None:
    """The base, its fingerprint, and what a listener's adapter would have."""
    engine = open_engine(shell.settings)
    base, facts = engine.base, engine.facts()
    shown = {
        "id": base.files.name, "sha256": base.files.weights_sha256, "licence": base.files.licence,
        "fingerprint": base.fingerprint, "music_adapter": base.music, "words": len(base.vocabulary or ()),
        "pooling": base.architecture.pooling, "dimension": base.dimension, "targets": base.targets,
        **facts.as_dict(), "encoded": engine.encoded(),
    }  # fmt: skip
    shell.say(shown, "\n".join(f"{key:22} {value}" for key, value in shown.items()))


@model.command("fetch")
@click.argument("hub_id")
@command
def model_fetch(shell: Shell, hub_id: str) -> None:
    """Fetch another base from the hub, once; the only command that calls the outside."""
    from app.lm.locate import locate

    files = locate(shell.settings.models / "base.toml", hub_id, download=True)
    shell.say({"id": hub_id, "sha256": files.weights_sha256}, f"Fetched {hub_id}. Now set EARSHOT_BASE_MODEL={hub_id}.")


@main.command()
@click.option("--in", "inputs", type=click.IntRange(1), required=True, help="Inputs of the matrix.")
@click.option("--out", "outputs", type=click.IntRange(1), required=True, help="Outputs of the matrix.")
@click.option("--rank", type=click.IntRange(1), required=True, help="Rank of the adapter.")
@command
def lora(shell: Shell, inputs: int, outputs: int, rank: int) -> None:
    """Count a matrix's numbers against those of a low-rank adapter on it."""
    from app.lm.lora import lora_facts

    facts = lora_facts([(inputs, outputs)], rank)
    shell.say(
        {"full": facts.base_parameters, "trainable": facts.trainable_parameters, "share": facts.share},
        f"{facts.base_parameters:,} against {facts.trainable_parameters:,} trainable parameters "
        f"({100 * facts.share:.2f} %)",
    )


add_pretrain(main, command)
add_tune(main, command)
add_upkeep(main, user, command)

from app import cli_catalogue, cli_circle, cli_cluster, cli_import, cli_tokens  # noqa: E402, F401  (their commands join ``main``)
