"""What lies beside a music adapter: its model card, and marks of the listeners that it has learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.lm.locate import sha256_of
from app.lm.pretraining import LAYERS, Pretrained, PretrainSettings
from app.lm.pretraining_checkpoint import write_whole
from app.lm.pretraining_data import Source
from app.lm.vocabulary import FILE as VOCABULARY

CARD, LISTENERS = "MODEL_CARD.md", "listeners.txt"

LISTENBRAINZ = """\
ListenBrainz publishes its listens as public-domain (CC0) dumps at https://data.metabrainz.org/pub/musicbrainz/listenbrainz/
(the folders `fullexport` and `incremental`). To build an adapter from one:

1. Take a full export and unpack its listens: files of one JSON object a line with `user_id` (or `user_name`),
   `timestamp` and `track_metadata` (`artist_name`, `track_name`, and in `additional_info` MusicBrainz ids).
2. Count (listener, artist, title) and write the plain format: `songs.tsv` (`song_id artist title tags year`; the
   MusicBrainz recording id, or a digest of artist and title, serves as the id; tags from MusicBrainz' own CC0 genres
   if wanted) and `listens.tsv` (`user_id song_id plays`). Leave out songs with fewer than five listeners, and keep up
   to 500 songs of a listener: millions of listeners are not needed, some thousands are.
3. `earshot pretrain --data DIR --out models/listenbrainz`, then `EARSHOT_MUSIC_ADAPTER=listenbrainz`.

This has not been done here: the dumps were out of reach of the machine that this was built on."""


def write(
    out: Path,
    base: str,
    sources: Sequence[Source],
    settings: PretrainSettings,
    done: Pretrained,
    licences: Mapping[str, str],
    start: Path | None = None,
) -> None:
    """Write MODEL_CARD.md and listeners.txt into an adapter's folder; ``start``: that of the adapter gone on from."""
    marks = sorted({mark for source in sources for mark in source.listeners} | (_marks_of(start) if start else set()))
    if marks:
        write_whole(out / LISTENERS, ("\n".join(marks) + "\n").encode())
    else:
        (out / LISTENERS).unlink(missing_ok=True)
    write_whole(out / CARD, _card(out, base, sources, settings, done, licences, start).encode())


def _marks_of(folder: Path) -> set[str]:
    """Marks of those whom another adapter has learnt from."""
    path = folder / LISTENERS
    return set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()


def _card(
    out: Path,
    base: str,
    sources: Sequence[Source],
    settings: PretrainSettings,
    done: Pretrained,
    licences: Mapping[str, str],
    start: Path | None,
) -> str:
    went_on = ""
    if start is not None:
        digest = sha256_of(start / "adapter_model.safetensors")
        went_on = (
            f"\nIt went on from `{start.name}` (sha256 `{digest}`), whose card and terms therefore apply as well.\n"
        )
    data = "\n".join(
        f"| {s.name} | {len(s.pieces):,} | {_groups(s)} | {len(s.listeners):,} | {s.left_out:,} | "
        f"{licences.get(s.name, _unstated(s))} |"
        for s in sources
    )
    words = ""
    if done.words:
        words = (
            f"\n`{VOCABULARY}` beside it has {done.words:,} words: what the LoRA could not carry of single artists,\n"
            f"for those in {settings.least_groups} listeners, playlists or neighbourhoods at least. Names are kept as "
            f"digests.\nsha256: `{sha256_of(out / VOCABULARY)}`\n"
        )
    before, after = done.checks["before"], done.checks["after"]
    checks = "\n".join(f"| {name} | {before.get(name, '')} | {value} |" for name, value in after.items())
    from_words = f" --from models/{start.name}" if start else ""
    data_words = from_words + "".join(
        f" --data {s.name}" for s in sources if s.listeners or s.left_out or "playlists" in s.groups
    )
    return f"""\
# {out.name}: a music adapter for Earshot

A LoRA (plain PEFT, rank {settings.rank}, all linear modules of the top {LAYERS} layers, {done.bytes:,} bytes)
that teaches `{base}` which artists belong together. Earshot folds it into the base at load;
`EARSHOT_MUSIC_ADAPTER` chooses.

sha256 of adapter_model.safetensors: `{sha256_of(out / "adapter_model.safetensors")}`
{words}{went_on}
## Data

| source | songs and artists | learnt from | listeners learnt from | listeners left out | licence, as stated |
|---|---|---|---|---|---|
{data}

No data are in this folder: weights, and marks of eight hex digits of the listeners learnt from (`{LISTENERS}`, where
there are any; a mark is the beginning of the sha256 of a listener's id and the sorted ids of their songs, one a line).

## Who is left out

Listeners whose id has a sha256 that begins with a byte below 52 (a fifth) are dropped while the data are read, so
that they can be measured. The benchmark also refuses to measure anybody whose mark is listed. Texts of
{done.world["artists never trained on"]:,} of {done.world["artists"]:,} artists were never trained on, so that
unseen artists can be reported apart (those where the sha256 of "unseen" and the name begins with a byte below 8).

## Numbers of the run

{done.teacher_steps} steps of {_teachers(settings)}, {done.steps} of the LoRA with {settings.texts_a_step} texts each,
seed {settings.seed}, {done.precision} on {done.device}; the last start of the command took {done.seconds:.0f} s.

| by the artist's name alone | untaught base | with this adapter |
|---|---|---|
{checks}

"Neighbour nearer": how often an artist of the same listener, playlist or neighbourhood is nearer than one drawn at
random (0.5 is chance). Unseen artists' texts were never trained on; what the teacher says of them was learnt from data.

## How to rebuild it

`earshot pretrain{data_words} --out models/{out.name} --steps {done.steps} --teacher-steps {done.teacher_steps}
--teachers {settings.teachers} --least-groups {settings.least_groups} --texts {settings.texts_a_step}
--rank {settings.rank} --seed {settings.seed} --precision {done.precision}`, with directories in the plain format
of those names. The same data, seed, machine and number of threads give the same files.

## How to build one from ListenBrainz

{LISTENBRAINZ}
"""


def _teachers(settings: PretrainSettings) -> str:
    return "the teacher" if settings.teachers == 1 else f"each of {settings.teachers} teachers"


def _groups(source: Source) -> str:
    names = {"listeners": "listeners", "playlists": "playlists", "facts": "neighbourhoods"}
    return ", ".join(f"{len(groups):,} {names[kind]}" for kind, groups in source.groups.items() if groups)


def _unstated(source: Source) -> str:
    return "Earshot's own" if "facts" in source.groups else "not stated to this command"
