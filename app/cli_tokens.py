"""earshot token: keys for players and programs, from the shell."""

from __future__ import annotations

from itertools import count

import click

from app.cli import Shell, command, main
from app.services import accounts, tokens


@main.group()
def token() -> None:
    """API tokens of players and programs."""


@token.command("add")
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(tokens.SCOPES), multiple=True, required=True,
    help="What it may do; give it twice for both.",
)  # fmt: skip
@click.option("--device", default="", help="Which device or program it is for; the next free “shell” otherwise.")
@command
def add(shell: Shell, name: str, scopes: tuple[str, ...], device: str) -> None:
    """Make a token for the listener NAME and print it, this once."""
    with shell.db.write() as db:
        listener = accounts.by_name(db, name)
        taken = {made.name for made in tokens.mine(db, listener.id)}
        numbered = ("shell" if n == 1 else f"shell {n}" for n in count(1))
        device = device or next(free for free in numbered if free not in taken)
        made, text = tokens.add(db, listener.id, device, scopes)
    shell.say(
        {"id": made.id, "listener": listener.name, "device": made.name, "scopes": made.scopes.split(), "token": text},
        f"{text}\nIt is shown only now. {listener.name}'s {made.name!r} may {made.scopes.replace(' ', ' and ')}.",
    )


@token.command("list")
@click.argument("name")
@command
def list_(shell: Shell, name: str) -> None:
    """List the tokens of the listener NAME, without their text, which nobody keeps."""
    with shell.db.read() as db:
        found = tokens.mine(db, accounts.by_name(db, name).id)
    facts = [
        {"id": t.id, "device": t.name, "scopes": t.scopes.split(), "created_at": t.created_at, "used_at": t.used_at}
        for t in found
    ]
    shell.say({"tokens": facts}, "\n".join(f"{t.id}  {t.scopes:12} {t.name}" for t in found) or "No tokens.")


@token.command("revoke")
@click.argument("name")
@click.argument("device")
@command
def revoke(shell: Shell, name: str, device: str) -> None:
    """End a token of the listener NAME by its id or its device's name."""
    with shell.db.write() as db:
        listener = accounts.by_name(db, name)
        by_name = {made.name: made.id for made in tokens.mine(db, listener.id)}
        token_id = by_name.get(device, device)
        tokens.revoke(db, listener.id, token_id)
    shell.say({"revoked": token_id}, f"{listener.name}'s {device!r} is refused from now on.")
