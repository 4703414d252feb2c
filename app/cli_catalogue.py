"""earshot catalogue: songs in bulk, encoding, and what the catalogue holds."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from tqdm import tqdm

from app.cli import Shell, command, main
from app.errors import BadInput
from app.opening import KINDS, open_engine
from app.services import bulk, musicbrainz, preparing, song_files


@main.group()
def catalogue() -> None:
    """Songs that can be recommended."""


@catalogue.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--no-encode", is_flag=True, help="Only take the songs; `earshot catalogue encode` makes their vectors.")
@command
def import_(shell: Shell, path: Path, no_encode: bool) -> None:
    """Take songs from a CSV or JSON Lines file (docs/catalogue.md has the columns), then encode them."""
    db = shell.db
    size = path.stat().st_size if path.is_file() else 0
    with tqdm(total=size, unit="B", unit_scale=True, desc="Reading songs", file=sys.stderr, delay=1) as bar:

        def show(report: bulk.BulkReport) -> None:
            bar.set_postfix_str(f"{report.rows:,} rows", refresh=False)
            bar.update(place - bar.n)

        place = 0

        def at(read: int) -> None:
            nonlocal place
            place = read

        report = bulk.import_songs(db, song_files.read_songs(path, at), show)
    encoded = None if no_encode else preparing.encode_with_bar(db, open_engine(shell.settings), KINDS.song_text)
    lines = [
        f"{report.rows:,} rows: {report.taken:,} songs taken, {report.folded:,} there already, "
        f"{report.dropped:,} dropped." + ("" if encoded is None else f" {encoded:,} songs encoded.")
    ]
    lines += [f"  line {drop.line}: {drop.reason}" for drop in report.reasons[:20]]
    shell.say({**report.as_dict(), "encoded": encoded}, "\n".join(lines))


@catalogue.command()
@click.option("--again", is_flag=True, help="Forget every vector first.")
@command
def encode(shell: Shell, again: bool) -> None:
    """Encode what is new or changed; after a kill it goes on where it was."""
    engine = open_engine(shell.settings)
    if again:
        engine.vectors.clear()
    encoded = preparing.encode_with_bar(shell.db, engine, KINDS.song_text)
    shell.say({"encoded": encoded}, f"{encoded:,} songs encoded.")


@catalogue.command()
@command
def stats(shell: Shell) -> None:
    """Count what the catalogue holds."""
    with shell.db.read() as db:
        facts = bulk.stats(db)
    facts["encoded"] = open_engine(shell.settings).encoded()
    shell.say(dict(facts), "\n".join(f"{name.replace('_', ' '):12} {count:>10,}" for name, count in facts.items()))


@catalogue.command("complete")
@click.option("-n", "--most", default=100, show_default=True, type=click.IntRange(1), help="How many songs at most.")
@command
def complete(shell: Shell, most: int) -> None:
    """Ask MusicBrainz for years, genres and ids of songs that lack them: one request a second, each song once."""
    if not shell.settings.musicbrainz_url:
        raise BadInput("MusicBrainz is off. EARSHOT_MUSICBRAINZ_URL=https://musicbrainz.org/ws/2 switches it on.")
    server = musicbrainz.MusicBrainz(shell.settings.musicbrainz_url)
    asked, changed = 0, []
    for _ in tqdm(range(most), desc="Asking MusicBrainz", file=sys.stderr, delay=1):
        one = musicbrainz.complete_one(shell.db, server)
        if one is None:
            break
        asked += 1
        changed += [one[0]] if one[1] else []
    if changed:
        preparing.encode_with_bar(shell.db, open_engine(shell.settings), KINDS.song_text)
    shell.say({"asked": asked, "completed": len(changed)}, f"{asked:,} songs asked for, {len(changed):,} completed.")
