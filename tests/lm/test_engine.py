"""The whole engine on the real base: train, gate, write, read, answer, fall back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

from app.db import Database
from app.errors import BadInput, Cancelled
from app.lm import evaluation, ranking, wishes
from app.lm.asking import Ask, Own
from app.lm.base import Base, load
from app.lm.engine import HELD_OUT_SHARE, Engine, EngineSettings, Outcome
from app.lm.evaluation import CAUTION
from app.lm.locate import locate
from app.lm.ranking import Rule
from app.lm.song_text import song_text
from app.lm.trainer import Progress, TrainingSettings
from app.lm.vectors import unit
from app.services import catalogue
from app.settings import PROJECT, Settings

from .making import flip_byte, peft_tensors, shapes_of, write_adapter

BASE_TOML = PROJECT / "models" / "base.toml"
ANA, BEN, CARA = "a" * 16, "b" * 16, "c" * 16
V1, V2, V3 = "1" * 16, "2" * 16, "3" * 16
KEPT, LIVE = "0e" * 8, "0f" * 8
BRIEF = TrainingSettings(rank=8, steps=4, songs_a_step=12)
RULES: tuple[Rule, ...] = ("mean", "interest")
both_rules = pytest.mark.parametrize("rule", RULES)


def engine_in(home: Path, base: Base, rule: Rule = "interest") -> Engine:
    settings = Settings(home=home)
    return Engine(base, EngineSettings(BASE_TOML, settings.vectors, settings.adapters, slots=4, rank=8, rule=rule))


@pytest.fixture(scope="module")
def home(seed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that the tests of this file share; every test writes versions of its own."""
    return Path(shutil.copytree(seed_home, tmp_path_factory.mktemp("engine") / "home"))


@pytest.fixture(scope="module")
def shared(home: Path, base: Base) -> Engine:
    """The engine of that home."""
    return engine_in(home, base)


@pytest.fixture(scope="module")
def library(home: Path) -> list[tuple[int, str]]:
    """Every song of the small catalogue: id and text."""
    db = Database(Settings(home=home).url)
    with db.read() as session:
        texts = catalogue.texts(session, song_text)
    db.close()
    return texts


@pytest.fixture(scope="module")
def artists(library: list[tuple[int, str]]) -> dict[int, str]:
    """Artist by song id, read off the text."""
    return {song: text.split(" by ")[-1].split(". ")[0] for song, text in library}


def fans_of(library: list[tuple[int, str]], genre: str, count: int = 20) -> list[Own]:
    found = [Own(song, text, 1.0 + song % 2) for song, text in library if f" {genre}" in text]
    return found[:count]


@pytest.fixture(scope="module")
def anas(library: list[tuple[int, str]]) -> list[Own]:
    """Rock."""
    return fans_of(library, "rock")


@pytest.fixture(scope="module")
def bens(library: list[tuple[int, str]]) -> list[Own]:
    """Hip hop."""
    return fans_of(library, "hip hop")


@pytest.fixture(scope="module")
def trained(shared: Engine, anas: list[Own]) -> Outcome:
    """Ana's first version, with the default settings."""
    return shared.train(ANA, V1, anas, seed=1)


def listed(
    engine: Engine,
    version: str | None,
    own: Sequence[Own],
    artists: Mapping[int, str],
    listener: str = ANA,
    **ask: object,
) -> tuple[list[ranking.Ranked], str | None]:
    question = Ask(without={song.id for song in own}, **ask)  # type: ignore[arg-type]
    return engine.recommend(listener, version, own, question, lambda ids: {i: artists[i] for i in ids})


# -- without training ---------------------------------------------------------------------------


def test_a_fresh_adapter_recommends_what_the_base_does(
    shared: Engine, anas: list[Own], artists: dict[int, str]
) -> None:
    tensors = peft_tensors(shared.bank.shapes, 8, seed=1)
    fresh = {name: torch.zeros_like(t) if "lora_B" in name else t for name, t in tensors.items()}
    write_adapter(shared.store, CARA, V1, fresh, fingerprint=shared.fingerprint, rank=8)
    with_adapter, version = listed(shared, V1, anas, artists, CARA)
    by_base, none = listed(shared, None, anas, artists, CARA)
    assert (version, none) == (V1, None)
    # The catalogue may have been read in bfloat16, own songs by an adapter never are: songs with as good as one score
    # may change places, and of two such the list may end with either.
    np.testing.assert_allclose([r.score for r in with_adapter], [r.score for r in by_base], atol=5e-3)
    mine, theirs = ({r.song: r.score for r in found} for found in (with_adapter, by_base))
    assert len(mine.keys() & theirs.keys()) >= len(theirs) - 1
    assert all(mine[song] == pytest.approx(theirs[song], abs=5e-3) for song in mine.keys() & theirs.keys())


def test_a_list_keeps_to_what_was_asked(shared: Engine, anas: list[Own], artists: dict[int, str]) -> None:
    found, _ = listed(shared, None, anas, artists, count=15, per_artist=1)
    assert len(found) == len({artists[r.song] for r in found}) == 15
    known = {song.id for song in anas}
    assert not known & {r.song for r in found}
    assert {song for r in found for song, _ in r.speaks} <= known
    only = [song.id for song in anas[:5]]
    familiar, _ = shared.recommend(ANA, None, anas, Ask(only=only, per_artist=9), lambda ids: artists)
    assert sorted(r.song for r in familiar) == sorted(only)


def test_a_wish_alone_is_enough_and_moves_a_list(shared: Engine, anas: list[Own], artists: dict[int, str]) -> None:
    jazz, _ = listed(shared, None, [], artists, wish="slow jazz late at night")
    assert jazz and all(r.speaks == () for r in jazz)
    plain, _ = listed(shared, None, anas, artists)
    wished, _ = listed(shared, None, anas, artists, wish="slow jazz late at night", wish_share=0.9)
    assert [r.song for r in wished] != [r.song for r in plain]
    assert {r.song for r in wished} & {r.song for r in jazz}


@both_rules
def test_no_history_and_no_wish_give_no_list(
    home: Path, base: Base, anas: list[Own], artists: dict[int, str], rule: Rule
) -> None:
    engine = engine_in(home, base, rule)
    assert listed(engine, None, [], artists) == ([], None)
    assert listed(engine, None, [replace(song, weight=-1.0) for song in anas], artists) == ([], None)


@both_rules
def test_a_list_without_spread_is_the_top_by_the_rule_with_the_parts_that_make_it(
    home: Path, base: Base, anas: list[Own], artists: dict[int, str], rule: Rule
) -> None:
    engine = engine_in(home, base, rule)
    snapshot = engine.vectors.snapshot()
    vectors = snapshot.vectors[snapshot.rows([song.id for song in anas])]  # as the catalogue was read
    weights = np.array([song.weight for song in anas], np.float32)
    taste = ranking.taste_of([song.id for song in anas], vectors, weights, snapshot.mean, rule)
    values = ranking.scores(taste, snapshot.units)
    rows = ranking.top(values, ranking.allowed_rows(snapshot, {song.id for song in anas}), 10)
    found, _ = listed(engine, None, anas, artists, count=10, per_artist=99, spread=0.0)
    assert [r.song for r in found] == snapshot.ids[rows].tolist()
    np.testing.assert_allclose([r.score for r in found], values[rows], atol=5e-3)
    for ranked, row in zip(found, rows, strict=True):
        expected = ranking.reasons(taste, snapshot.units[row])
        assert [song for song, _ in ranked.speaks] == [song for song, _ in expected]
        np.testing.assert_allclose([p for _, p in ranked.speaks], [p for _, p in expected], atol=2e-3)


def test_the_two_rules_give_different_lists(home: Path, base: Base, anas: list[Own], artists: dict[int, str]) -> None:
    by_mean, by_interest = (listed(engine_in(home, base, rule), None, anas, artists)[0] for rule in RULES)
    assert [r.song for r in by_mean] != [r.song for r in by_interest]


def test_a_wish_counts_by_its_share_on_scores_of_one_scale(
    shared: Engine, anas: list[Own], artists: dict[int, str]
) -> None:
    snapshot, wish = shared.vectors.snapshot(), "slow jazz late at night"
    encoded = shared.base.encode([wish]).numpy()[0] - wishes.middle(shared.base)
    wished = snapshot.units @ (encoded / np.linalg.norm(encoded))
    own = ranking.scores(shared.taste(ANA, None, anas)[0], snapshot.units)
    for share in (0.0, 0.4, 1.0):
        values = ranking.blend(own, wished, share)
        rows = ranking.top(values, ranking.allowed_rows(snapshot, {song.id for song in anas}), 10)
        found, _ = listed(shared, None, anas, artists, count=10, per_artist=99, spread=0.0, wish=wish, wish_share=share)
        assert [r.song for r in found] == snapshot.ids[rows].tolist()
        np.testing.assert_allclose([r.score for r in found], values[rows], atol=5e-3)


def test_an_adapter_reads_songs_and_the_base_reads_what_is_asked(
    shared: Engine, trained: Outcome, anas: list[Own], artists: dict[int, str]
) -> None:
    wish = "slow jazz late at night"
    by_base, _ = listed(shared, None, anas, artists, wish=wish, wish_share=1.0)
    adapted, version = listed(shared, trained.version, anas, artists, wish=wish, wish_share=1.0)
    assert version == trained.version
    assert [(r.song, r.score) for r in adapted] == [(r.song, r.score) for r in by_base]
    mixed = [listed(shared, live, anas, artists, wish=wish, wish_share=0.5)[0] for live in (None, trained.version)]
    assert [r.score for r in mixed[0]] != [r.score for r in mixed[1]], "the taste beside it is by the adapter"


@both_rules
def test_a_catalogue_that_is_not_encoded_yet_gives_no_list(
    tmp_path: Path, base: Base, anas: list[Own], artists: dict[int, str], rule: Rule
) -> None:
    engine = engine_in(tmp_path, base, rule)
    assert listed(engine, None, anas, artists) == ([], None)
    assert listed(engine, None, anas, artists, wish="rain") == ([], None)


def test_an_adapter_of_other_layers_is_not_served(shared: Engine, anas: list[Own], artists: dict[int, str]) -> None:
    """The fingerprint is that of the vectors, so the names of the tensors must tell."""
    two = load(locate(BASE_TOML), top_layers=2, music_folder=Settings().music)
    assert two.fingerprint == shared.fingerprint
    tensors = peft_tensors(shapes_of(two), 8, seed=1)
    write_adapter(shared.store, CARA, "e" * 16, tensors, fingerprint=shared.fingerprint, rank=8)
    assert listed(shared, "e" * 16, anas, artists, CARA) == listed(shared, None, anas, artists, CARA)


def test_a_song_whose_text_has_changed_is_read_anew_by_the_adapter(shared: Engine, anas: list[Own]) -> None:
    write_adapter(
        shared.store, CARA, V2, peft_tensors(shared.bank.shapes, 8, 2), fingerprint=shared.fingerprint, rank=8
    )
    adapter = shared.adapter(CARA, V2)
    before = shared.own_vectors(adapter, anas[:2])
    changed = [replace(anas[0], text="Something else entirely"), anas[1]]
    after = shared.own_vectors(adapter, changed)
    assert np.abs(after[0] - before[0]).max() > 1e-3
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_allclose(shared.own_vectors(adapter, anas[:2]), before, atol=5e-3)


def test_nothing_to_learn_from_is_said_and_leaves_nothing(shared: Engine, anas: list[Own]) -> None:
    not_encoded = [replace(song, id=1_000_000 + song.id) for song in anas]
    for own in ([], anas[:2], [*anas[:2], *not_encoded], [replace(song, weight=-1.0) for song in anas]):
        with pytest.raises(BadInput, match="too few to learn from and to hide some"):
            shared.train(CARA, V3, own, seed=1, settings=BRIEF)
    assert V3 not in shared.store.versions(CARA)


# -- with training ------------------------------------------------------------------------------


@pytest.mark.training
def test_the_loss_falls_and_the_version_is_on_disk_with_the_gates_verdict(
    shared: Engine, trained: Outcome, anas: list[Own]
) -> None:
    half = len(trained.losses) // 2
    assert np.mean(trained.losses[half:]) < 0.9 * np.mean(trained.losses[:half])
    verdict = trained.verdict
    error = (verdict.high - verdict.low) / (2 * 1.96)
    assert verdict.promoted is bool(verdict.difference > CAUTION["interest"] * error)
    hidden = round(HELD_OUT_SHARE * len(anas))
    assert len(trained.before.ranks) == len(trained.after.ranks) == hidden
    learnt = len(anas) if trained.verdict.promoted else len(anas) - hidden
    assert trained.learnt_from == learnt
    card = shared.store.card(ANA, V1)
    assert card["songs"] == {"learnt_from": learnt, "held_out": hidden, "disliked": 0}
    assert card["base_fingerprint"] == shared.fingerprint
    assert (card["listener"], card["version"]) == (ANA, V1)
    assert card["settings"] == asdict(TrainingSettings.for_rule("interest", rank=8)) | {"seed": 1}
    assert card["before"] == trained.before.as_dict()
    assert card["after"] == trained.after.as_dict()
    assert card["promoted"] == trained.verdict.promoted
    assert trained.size == shared.store.folder(ANA, V1).size


@pytest.mark.training
def test_before_and_after_are_what_the_served_tower_gives(shared: Engine, anas: list[Own]) -> None:
    """Of a version that has not gone on with the hidden songs since."""
    version = "d" * 16
    trained = shared.train(ANA, version, anas, seed=1, settings=replace(shared.training_settings(), refit_steps=0))
    learn, hide = evaluation.split([song.id for song in anas], HELD_OUT_SHARE, 1)
    songs = [song for song in anas if song.id in learn]
    snapshot = shared.vectors.snapshot()
    for asked, stated in ((None, trained.before), (version, trained.after)):
        taste, answered = shared.taste(ANA, asked, songs)
        assert answered == asked
        values = ranking.scores(taste, snapshot.units)
        assert evaluation.measure(values, snapshot.rows(hide), snapshot.rows(learn)) == replace(stated, songs=())
        assert sorted(stated.songs) == sorted(hide)


@pytest.mark.training
def test_only_lora_tensors_are_saved_and_they_are_small(shared: Engine, trained: Outcome) -> None:
    folder = shared.store.folder(ANA, V1)
    tensors = load_file(folder.weights)
    assert set(tensors) == {
        f"base_model.model.{name}.lora_{half}.weight" for name in shared.base.targets for half in "AB"
    }
    numbers = sum(tensor.numel() for tensor in tensors.values())
    assert numbers == trained.facts.trainable_parameters
    assert 4 * numbers < folder.weights.stat().st_size < 4 * numbers + 4096
    assert sorted(file.name for file in folder.path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "card.json",
    ]
    config = json.loads(folder.config.read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.training
def test_stock_peft_loads_what_is_saved_and_ranks_the_same(shared: Engine, trained: Outcome, anas: list[Own]) -> None:
    plain = AutoModel.from_pretrained(shared.base.files.folder, dtype=torch.float32)
    music = Settings().music
    assert music is not None  # the base is the published one with the music adapter merged, by stock PEFT too
    plain = PeftModel.from_pretrained(plain, music).merge_and_unload()
    stock = PeftModel.from_pretrained(plain, shared.store.folder(ANA, V1).path).eval()
    ids, mask = shared.base.tokenize([song.text for song in anas])
    first = shared.base.tokenizer.cls_token_id  # in whose place the words of the domain vocabulary stand
    with torch.inference_mode():
        plain_ids = torch.where(ids < len(shared.base.tokenizer), ids, first)
        hidden = stock(input_ids=plain_ids, attention_mask=mask).last_hidden_state
        theirs = shared.base.pool(hidden, mask, ids).numpy()
    ours = shared.own_vectors(shared.adapter(ANA, V1), anas)
    np.testing.assert_allclose(ours, theirs, atol=5e-3)
    assert np.abs(ours - shared.own_vectors(None, anas)).max() > 1e-3

    snapshot = shared.vectors.snapshot()
    weights = np.array([song.weight for song in anas], np.float32)
    lists = []
    for vectors in (ours, theirs):
        taste = ranking.taste_of([song.id for song in anas], vectors, weights, snapshot.mean, shared.settings.rule)
        lists.append(ranking.scores(taste, snapshot.units))
    np.testing.assert_allclose(lists[0], lists[1], atol=5e-3)
    assert ranking.top(lists[0], None, 20).tolist() == ranking.top(lists[1], None, 20).tolist()


@pytest.mark.training
def test_training_leaves_the_base_bit_identical_and_forgets_whom_it_trained_before(
    base: Base, home: Path, shared: Engine, trained: Outcome, anas: list[Own], bens: list[Own]
) -> None:
    digest, vectors = base.weights_digest(), base.encode([song.text for song in bens])
    shared.train(ANA, V2, anas, seed=4, settings=BRIEF)
    shared.train(BEN, V2, bens, seed=4, settings=BRIEF)
    assert base.weights_digest() == digest
    assert torch.equal(base.encode([song.text for song in bens]), vectors)

    untouched = load(locate(BASE_TOML), music_folder=Settings().music)
    assert untouched.weights_digest() == digest
    engine_in(home, untouched).train(BEN, V3, bens, seed=4, settings=BRIEF)
    after_ana, alone = (shared.store.folder(BEN, version).weights.read_bytes() for version in (V2, V3))
    assert after_ana == alone


def decided(monkeypatch: pytest.MonkeyPatch, promoted: bool) -> None:
    """The gate measures as it does, and then says yes or no whatever it found."""
    gate = evaluation.gate
    monkeypatch.setattr(evaluation, "gate", lambda *args: replace(gate(*args), promoted=promoted))


@pytest.mark.training
def test_a_version_that_may_live_learns_from_the_hidden_songs_too(
    shared: Engine, anas: list[Own], bens: list[Own], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [*anas, *bens]
    settings = replace(shared.training_settings(), steps=10, refit_steps=6)
    outcomes, heard = {}, list[Progress]()
    for promoted, version in ((False, KEPT), (True, LIVE)):
        decided(monkeypatch, promoted)
        heard.clear()
        outcomes[promoted] = shared.train(ANA, version, own, seed=1, settings=settings, report=heard.append)
    kept, live = outcomes[False], outcomes[True]
    hidden = len(live.after.ranks)
    assert [phase for phase, _ in groupby(heard, lambda told: told.phase)] == [
        "reading",
        "learning",
        "evaluating",
        "refitting",
        "saving",
    ]
    assert [told.of for told in heard if told.phase == "refitting" and told.loss is None] == [len(own)]  # are read
    assert (len(kept.losses), kept.learnt_from, kept.after.learnt_since) == (10, len(own) - hidden, False)
    assert (len(live.losses), live.learnt_from, live.after.learnt_since) == (16, len(own), True)
    assert (live.before, replace(live.after, learnt_since=False)) == (kept.before, kept.after)  # measured before that
    assert live.losses[:10] == kept.losses
    card = shared.store.card(ANA, LIVE)
    assert card["songs"] == {"learnt_from": len(own), "held_out": hidden, "disliked": 0}
    assert card["after"]["learnt_since"] and card["losses"] == [round(loss, 6) for loss in live.losses]

    def apart(version: str) -> float:
        """How far the songs that were hidden lie from the middle of those that were not, 0 at the same place."""
        taste, _ = shared.taste(ANA, version, own)
        was_hidden = np.isin([song.id for song in own], live.after.songs)
        return 1 - float((taste.units[was_hidden] @ unit(taste.units[~was_hidden].sum(axis=0))).mean())

    assert apart(LIVE) < 0.85 * apart(KEPT) and live.losses[-1] < live.losses[10]


@pytest.mark.training
def test_a_retrain_that_is_cancelled_while_it_learns_from_the_hidden_songs_leaves_nothing_on_disk(
    shared: Engine, anas: list[Own], monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(monkeypatch, True)
    heard: list[Progress] = []
    with pytest.raises(Cancelled):
        shared.train(
            ANA, "0" * 16, anas, seed=1, settings=replace(BRIEF, refit_steps=6), report=heard.append,
            cancelled=lambda: [p.phase for p in heard].count("refitting") > 3,
        )  # fmt: skip
    assert heard[-1].phase == "refitting" and not shared.store.folder(ANA, "0" * 16).path.exists()


@pytest.mark.training
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(shared: Engine, bens: list[Own]) -> None:
    versions = {"4" * 16: 7, "5" * 16: 7, "6" * 16: 8}
    for version, seed in versions.items():
        shared.train(BEN, version, bens, seed=seed, settings=BRIEF)
    one, again, other = (shared.store.folder(BEN, version).weights.read_bytes() for version in versions)
    assert one == again
    assert one != other


@pytest.mark.training
def test_retraining_one_listener_changes_nobody_elses_answer(
    shared: Engine, home: Path, base: Base, anas: list[Own], bens: list[Own], artists: dict[int, str]
) -> None:
    version = "7" * 16
    shared.train(BEN, version, bens, seed=1, settings=BRIEF)
    before = [listed(shared, version, bens, artists, BEN), listed(shared, None, anas, artists, CARA)]
    shared.train(ANA, version, anas, seed=2, settings=BRIEF)
    listed(shared, version, anas, artists, ANA)
    assert [listed(shared, version, bens, artists, BEN), listed(shared, None, anas, artists, CARA)] == before
    anew = engine_in(home, base)
    listed(anew, version, anas, artists, ANA)
    assert [listed(anew, version, bens, artists, BEN), listed(anew, None, anas, artists, CARA)] == before


@pytest.mark.training
def test_an_engine_that_ranks_by_mean_trains_and_measures_by_mean(
    home: Path, base: Base, anas: list[Own], bens: list[Own]
) -> None:
    engine, listener = engine_in(home, base, "mean"), "9" * 16
    outcome = engine.train(listener, V1, anas, seed=1)
    assert engine.store.card(listener, V1)["settings"] == asdict(TrainingSettings.for_rule("mean", rank=8)) | {
        "seed": 1
    }
    assert outcome.losses[-1] < outcome.losses[0] / 5
    learn, hide = evaluation.split([song.id for song in anas], HELD_OUT_SHARE, 1)
    taste, _ = engine.taste(listener, V1, [song for song in anas if song.id in learn])
    snapshot = engine.vectors.snapshot()
    values = snapshot.units @ taste.vector
    assert evaluation.measure(values, snapshot.rows(hide), snapshot.rows(learn)) == replace(outcome.after, songs=())


@pytest.mark.training
def test_a_song_that_is_not_encoded_yet_is_no_dislike(shared: Engine, anas: list[Own]) -> None:
    new = Own(1_000_000, "Something that came in today by Nobody", 1.0)
    shared.train(CARA, "6" * 16, [*anas[:10], new, replace(anas[11], weight=-1.0)], seed=1, settings=BRIEF)
    assert shared.store.card(CARA, "6" * 16)["songs"] == {"learnt_from": 8, "held_out": 2, "disliked": 1}


@pytest.mark.training
@both_rules
def test_a_dislike_pushes_the_disliked_songs_down_in_what_is_learnt(
    home: Path, base: Base, anas: list[Own], library: list[tuple[int, str]], rule: Rule
) -> None:
    engine, listener = engine_in(home, base, rule), {"mean": "7" * 16, "interest": "8" * 16}[rule]
    snapshot = engine.vectors.snapshot()
    taste, _ = engine.taste(listener, None, anas)
    rows = ranking.allowed_rows(snapshot, without={song.id for song in anas})
    best = snapshot.ids[ranking.top(ranking.scores(taste, snapshot.units), rows, 6)].tolist()
    disliked = [Own(song, text, -1.0) for song, text in library if song in best]
    learnt = []
    for version, own in ((V1, anas), (V2, [*anas, *disliked])):
        engine.train(listener, version, own, seed=3)
        after, answered = engine.taste(listener, version, anas)  # the likes alone: what differs is the adapter
        assert answered == version
        values = ranking.scores(after, snapshot.units)
        learnt.append(((values - values.mean()) / values.std())[snapshot.rows(best)])
    assert (learnt[1] < learnt[0]).all()
    assert learnt[1].mean() < learnt[0].mean() - 0.25


@pytest.mark.training
@pytest.mark.parametrize("phase", ["reading", "learning", "evaluating"])
def test_a_cancelled_retrain_leaves_nothing_on_disk(shared: Engine, anas: list[Own], phase: str) -> None:
    heard: list[Progress] = []
    listener = "d" * 16
    with pytest.raises(Cancelled, match="nothing has changed"):
        shared.train(
            listener,
            V1,
            anas,
            seed=1,
            settings=BRIEF,
            report=heard.append,
            cancelled=lambda: bool(heard) and heard[-1].phase == phase,
        )
    assert heard[-1].phase == phase
    assert not list((shared.store.root / listener).glob("*"))


@pytest.mark.training
def test_a_damaged_adapter_is_never_served_and_the_base_answers(
    shared: Engine, home: Path, base: Base, trained: Outcome, anas: list[Own], artists: dict[int, str]
) -> None:
    version = "e" * 16
    folder = shared.store.folder(ANA, version)
    shutil.copytree(shared.store.folder(ANA, V1).path, folder.path)
    whole, answered = listed(engine_in(home, base), version, anas, artists)
    assert answered == version
    by_base = listed(shared, None, anas, artists, wish="rain")
    flip_byte(folder.weights, -2)
    anew = engine_in(home, base)
    assert listed(anew, version, anas, artists, wish="rain") == by_base
    assert listed(anew, version, anas, artists) == listed(shared, None, anas, artists)
    assert listed(anew, "f" * 16, anas, artists) == listed(shared, None, anas, artists)
    flip_byte(folder.weights, -2)
    assert listed(anew, version, anas, artists) == (whole, version)


@pytest.mark.training
def test_a_new_version_answers_at_once_and_a_forgotten_listener_is_gone(
    shared: Engine, trained: Outcome, anas: list[Own], artists: dict[int, str]
) -> None:
    new, version = listed(shared, V1, anas, artists)
    assert version == V1
    assert new != listed(shared, None, anas, artists)[0]
    shared.train(ANA, "0" * 16, anas, seed=9, settings=BRIEF)
    assert listed(shared, "0" * 16, anas, artists)[1] == "0" * 16
    assert listed(shared, V1, anas, artists) == (new, V1)  # one click back
    shared.store.remove(ANA, "0" * 16)
    shared.forget(ANA)
    assert not shared.bank.resident(f"{ANA}/{V1}")
    assert listed(shared, "0" * 16, anas, artists) == listed(shared, None, anas, artists)
    assert listed(shared, V1, anas, artists) == (new, V1)
