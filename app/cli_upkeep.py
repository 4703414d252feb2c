"""Shell commands that keep a place well: backup, restore, doctor, and leaving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app import upkeep
from app.db import Database
from app.errors import BadInput, EarshotError
from app.opening import KINDS, open_engine
from app.services import accounts, backup, examining, privacy
from app.services.examining import Finding
from app.settings import Settings

if TYPE_CHECKING:
    from app.cli import Shell

Command = Callable[[Callable[..., None]], Callable[..., None]]


def add_to(main: click.Group, user: click.Group, command: Command) -> None:
    """Add the commands to the shell's."""

    @main.command("backup")
    @click.argument("file", type=click.Path(path_type=Path))
    @click.option("--unproven", is_flag=True, help="Do not restore it on trial and ask it for lists; needs no base.")
    @command
    def back_up(shell: Shell, file: Path, unproven: bool) -> None:
        """Write database and adapters into FILE (tar.gz) while everything runs, and prove that it can be restored."""
        if shell.settings.storage:
            raise BadInput("Adapters lie in EARSHOT_STORAGE: back that up where it is, and the database by pg_dump.")
        made = backup.back_up(shell.db, shell.settings.adapters, file)
        asked = 0 if unproven else upkeep.prove(file, open_engine(shell.settings), KINDS)
        facts = {"file": str(file), "adapters": made.adapters, "missing": list(made.missing), "lists_asked": asked}
        proof = "not tried" if unproven else f"restored on trial, and {asked} lists asked of it"
        shell.say(facts, f"{file}: the database and {made.adapters} adapters; {proof}.")

    @main.command("restore")
    @click.argument("file", type=click.Path(path_type=Path))
    @command
    def restore(shell: Shell, file: Path) -> None:
        """Put a backup into this place, which must be empty. Then run `earshot setup`."""
        settings = shell.settings
        if settings.database_url:
            raise BadInput("A backup holds a SQLite database; unset EARSHOT_DATABASE_URL to restore it.")
        found = backup.restore(file, settings.data, settings.adapters)
        facts = {"adapters": found.adapters, "revision": found.revision, "created_at": found.created_at}
        shell.say(facts, f"Restored {found.adapters} adapters and the database. Now run `earshot setup`.")

    @user.command("delete")
    @click.argument("name")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @command
    def user_delete(shell: Shell, name: str, yes: bool) -> None:
        """Delete a listener with everything of theirs. It cannot be undone."""
        with shell.db.read() as db:
            listener = accounts.by_name(db, name)
            goes = privacy.what_goes(db, listener.id)
        words = ", ".join(f"{rows:,} {table.replace('_', ' ')}" for table, rows in goes.items()) or "no rows"
        if not yes and not click.confirm(f"Delete {listener.name} with {words}?"):
            raise BadInput("Nothing was deleted.")
        with shell.db.write() as db:
            privacy.delete_account(db, listener.id)
        privacy.remove_files(
            [shell.settings.adapters, shell.settings.data / "imports"], listener.id, shell.settings.storage
        )
        said = upkeep.shred_all(shell.db, shell.settings)
        shell.say({"deleted": listener.id, "rows": goes}, f"{listener.name} is gone ({words}); {said}.")

    @main.command("doctor")
    @command
    def doctor(shell: Shell) -> None:
        """Say what is wrong with this place and how to mend it."""
        found = list(examine(shell.settings))
        facts: dict[str, Any] = {
            "well": all(f.is_well for f in found),
            "findings": [{"what": f.what, "well": f.is_well, "said": f.said, "mend": f.mend} for f in found],
        }
        shell.say(facts, "\n".join(map(_line, found)))
        if not facts["well"]:
            raise EarshotError(f"{sum(not f.is_well for f in found)} of {len(found)} checks found something wrong.")


def _line(found: Finding) -> str:
    mend = f"\n        {found.mend}" if not found.is_well and found.mend else ""
    return f"{'well ' if found.is_well else 'WRONG'}  {found.what}: {found.said}{mend}"


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check, the cheap ones first; each stands for itself."""
    for path in (settings.data, settings.adapters):
        yield examining.folder(path)
    known = list(examining.database(settings.url))
    yield from known
    exposed = settings.host not in ("127.0.0.1", "localhost", "::1") and not settings.https
    mend = "Put a proxy with HTTPS before it and set EARSHOT_HTTPS=1 and EARSHOT_TRUSTED_PROXIES."
    yield Finding("https", not exposed, "passwords travel readable" if exposed else "local only, or by HTTPS", mend)
    yield from _with_base(settings, all(f.is_well for f in known[:2]))


def _with_base(settings: Settings, has_database: bool) -> Iterator[Finding]:
    try:
        engine = open_engine(settings)
    except (EarshotError, OSError) as problem:
        yield Finding(
            "base", False, str(problem), "Until then songs are logged, but no lists and no retrains are made."
        )
        return
    yield Finding("base", True, f"{engine.base.files.name}, verified")
    yield examining.vectors(engine)
    if has_database:
        opened = Database(settings.url)
        yield from examining.adapters(opened, engine)
        opened.close()
