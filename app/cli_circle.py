"""earshot circle: the adapter of everybody who opted in."""

from __future__ import annotations

import click

from app.cli import Shell, command, finished, main
from app.services import circle_adapter
from app.tables_circle import CircleVersion


@main.group("circle")
def circle_() -> None:
    """The circle's adapter."""


@circle_.command("retrain")
@click.option("--seed", default=0, help="Same members and songs, same seed, same machine: same adapter.")
@command
def retrain(shell: Shell, seed: int) -> None:
    """Train the circle's adapter on everybody who opted in, and wait for the verdict."""
    with shell.db.write() as db:
        job_id = circle_adapter.request(db, shell.settings.min_songs, seed).id
    job = finished(shell, job_id)
    with shell.db.read() as db:
        made = db.get_one(CircleVersion, job.version)
    shell.say(
        {
            "version": made.id, "members": made.members, "songs": made.learnt_from, "promoted": made.promoted,
            "before": made.before, "after": made.after, "seconds": round(made.seconds, 3), "why": made.why,
            "bytes": made.size,
        },
        f"Learnt from {made.learnt_from:,} songs of {made.members} members in {made.seconds:.1f} s. {made.why}",
    )  # fmt: skip
