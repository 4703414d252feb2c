"""earshot import, imports and export: listening brought along and taken away."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from app.cli import Shell, command, main
from app.errors import BadInput
from app.opening import KINDS
from app.services import accounts, exporting
from app.services.imports import runner, running, undoing
from app.services.imports.reporting import ImportReport
from app.services.imports.staging import Staging
from app.tables_imports import Import


def _staging(shell: Shell) -> Staging:
    return Staging(shell.settings.data / "imports")


@main.command("import")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--user", "name", required=True, help="Whose listens these are.")
@click.option("--preview", is_flag=True, help="Say what would happen; take nothing.")
@click.option(
    "--shift-minutes", default=0, help="Move times whose zone the export does not say (Spotify account data)."
)
@command
def import_(shell: Shell, paths: tuple[Path, ...], name: str, preview: bool, shift_minutes: int) -> None:
    """Import listening: Spotify, Last.fm, ListenBrainz, an Earshot account and others, told by what the files hold.

    Files, folders or zips. Importing again adds nothing; `earshot imports undo` takes it back.
    """
    named = [(path.name, path) for path in paths]
    with shell.db.write() as db:
        listener = accounts.by_name(db, name)
        made = running.begin(db, listener.id, "shell", ", ".join(n for n, _ in named))
        made.shift_minutes = shift_minutes
        import_id = made.id
    run = running.Run(shell.db, _staging(shell), import_id, runner.own_name())
    try:
        facts = run.look(named)
        if preview:
            shell.say(facts, _preview_words(facts))
            return
        with shell.db.write() as db:
            running.start(db, listener.id, import_id)
        adopt = runner.adopter(shell.engine()) if facts["account"] else None
        report = run.take(named, adopt)
    finally:
        with shell.db.write() as db:  # a preview, or what was refused, leaves nothing
            if db.get_one(Import, import_id).state in ("reading", "ready"):
                running.discard(db, _staging(shell), listener.id, import_id)
    with shell.db.read() as db:
        made = db.get_one(Import, import_id)
    if made.state == "encoding":
        _encode(shell, import_id)
    notes = list(made.brought.get("notes", []))
    shell.say(report.as_dict() | {"import": import_id, "notes": notes}, _words(report, import_id, notes))


def _encode(shell: Shell, import_id: str) -> None:
    engine = shell.engine()
    click.echo("Encoding the new songs …", err=True)
    runner.encode_new_songs(shell.db, engine, KINDS.song_text, import_id)
    with shell.db.write() as db:
        made = db.get_one(Import, import_id)
        if made.state == "encoding":  # else it was undone meanwhile
            made.state = "done"


def _words(report: ImportReport, import_id: str, notes: list[str]) -> str:
    lines = [
        f"{report.rows:,} rows: {report.taken:,} taken ({report.undated:,} undated, {report.skips:,} skips), "
        f"{report.folded:,} there already, {report.dropped:,} dropped. {report.new_songs:,} songs joined the catalogue."
    ]
    lines += [f"  {kind['count']:,} {kind['outcome']}: {reason}" for reason, kind in report.kinds.items()]
    lines += [f"  line {drop.line}: {drop.reason}" for drop in report.reasons[:20]]
    lines += [f"  {note}" for note in notes]
    lines += [f"To take it back: earshot imports undo {import_id}"]
    return "\n".join(lines)


def _preview_words(facts: dict[str, Any]) -> str:
    lines = [f"{file['rows']:>9,} rows  {file['label']}: {file['name']}" for file in facts["files"]]
    lines += [
        f"Of {facts['rows']:,} rows {facts['taken']:,} would be taken ({facts['skips']:,} as skips), "
        f"{facts['folded']:,} are there already, {facts['dropped']:,} would be dropped."
    ]
    lines += [f"  {kind['count']:,} {kind['outcome']}: {reason}" for reason, kind in facts["kinds"].items()]
    return "\n".join(lines)


@main.group()
def imports() -> None:
    """Imports that were run: list them, take one back, see what was not taken."""


@imports.command("list")
@click.option("--user", "name", required=True, help="Whose imports.")
@command
def imports_list(shell: Shell, name: str) -> None:
    """A listener's imports, newest first."""
    with shell.db.read() as db:
        rows = running.mine(db, accounts.by_name(db, name).id)
    facts = [
        {"id": row.id, "state": row.state, "name": row.name, "at": row.created_at, "taken": row.report.get("taken", 0)}
        for row in rows
    ]
    lines = [
        f"{row.id}  {datetime.fromtimestamp(row.created_at, UTC):%Y-%m-%d %H:%M}  {row.state:8} "
        f"{row.report.get('taken', 0):>8,} taken  {row.name}"
        for row in rows
    ]
    shell.say({"imports": facts}, "\n".join(lines) or "None yet.")


@imports.command("undo")
@click.argument("import_id", metavar="ID")
@click.option("--user", "name", required=True, help="Whose import it was.")
@command
def imports_undo(shell: Shell, import_id: str, name: str) -> None:
    """Take an import back: exactly what it brought."""
    with shell.db.write() as db:
        listener = accounts.by_name(db, name)
        gone = undoing.undo(db, listener.id, import_id)
    if gone["versions"] or gone["removed"]:
        engine = shell.engine()
        engine.vectors.remove(gone["removed"])
        for version in gone["versions"]:
            engine.store.remove(listener.id, version)
    shell.say(
        {name: gone[name] for name in ("listens", "feedback", "songs", "back", "versions")},
        f"{gone['listens']:,} listens and {gone['feedback']:,} words on songs are gone; {gone['back']:,} listens that "
        "another import told as well are back.",
    )


@imports.command("report")
@click.argument("import_id", metavar="ID")
@click.option("--user", "name", required=True, help="Whose import it was.")
@command
def imports_report(shell: Shell, import_id: str, name: str) -> None:
    """Every row that was not taken, with the reason, as CSV."""
    with shell.db.read() as db:
        made = undoing.own_import(db, accounts.by_name(db, name).id, import_id)
    path = _staging(shell).report(made.listener_id, import_id)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    shell.say({"import": import_id, "csv": text}, text)


@main.command("export")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--user", "name", required=True, help="Whose listening.")
@click.option(
    "--as", "kind", type=click.Choice(["account", "jsonl", "csv"]), default="account", show_default=True,
    help="The whole account as a zip, or listens alone.",
)  # fmt: skip
@command
def export(shell: Shell, path: Path, name: str, kind: str) -> None:
    """Take everything of a listener away: listens, words, picks and every adapter version."""
    if path.exists():
        raise BadInput(f"{path} is there already.")
    with shell.db.read() as db:
        listener = accounts.by_name(db, name)
        if kind == "account":
            engine = shell.engine()
            made = exporting.account_zip(db, engine, KINDS, listener.id, shell.settings.data / "exports",
                                         shell.settings.music)  # fmt: skip
            with closing(made), path.open("wb") as out:
                shutil.copyfileobj(made, out)
        else:
            parts = exporting.jsonl(db, listener.id) if kind == "jsonl" else exporting.csv_lines(db, listener.id)
            with path.open("wb") as out:
                out.writelines(parts)
    shell.say({"path": str(path), "bytes": path.stat().st_size}, f"{path}: {path.stat().st_size:,} bytes.")
