"""Every task runs on every row, goes on after a kill, and gives the same numbers twice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sets import MakeBench, write_dialogues

from app.lm import evaluation
from benchmarks.quality import reporting, running, towers
from benchmarks.quality.collaborative import als, item_knn, noise, popularity
from benchmarks.quality.measures import bootstrap, gain, measure
from benchmarks.quality.personal import personal
from benchmarks.quality.protocol import Case
from benchmarks.quality.resuming import Results
from benchmarks.quality.words import Bm25

TASKS = ("discover", "new-artists", "newcomer", "likes", "ask")
NAMES = {name for name, _ in running.ROWS} - {"bm25", "base-signed", "first-list", "circle-list"}


def measured(make_bench: MakeBench, folder: Path, task: str, work: Path, count: int = 2) -> list[dict[str, Any]]:
    bench = make_bench(folder, task)
    return running.run(bench, bench.questions.cases[:count], bench.results(work), quiet=True)


def without_seconds(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**r, "rows": {n: {**v, "seconds": 0} for n, v in r["rows"].items()}} for r in records]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_gives_every_row_in_the_shape_that_is_promised(
    make_bench: MakeBench, folder: Path, tmp_path: Path, task: str
) -> None:
    write_dialogues(folder)
    records = measured(make_bench, folder, task, tmp_path, count=3)
    result = json.loads(json.dumps(reporting.as_json(records, task, "set"), allow_nan=False))
    assert set(result) == {"task", "data", "listeners", "rows", "gain"}
    assert {row["name"] for row in result["rows"]} >= NAMES
    keys = {"name", "regime", "ndcg@10", "recall@10", "recall@100", "auc", "ci_low", "ci_high", "seconds_per_listener"}
    for row in result["rows"]:
        assert set(row) == keys
        assert (row["auc"] is None) == (task != "likes") and (row["ndcg@10"] is None) == (task == "likes")
        assert row["ci_low"] <= row["auc" if task == "likes" else "ndcg@10"] <= row["ci_high"]
    assert {"ndcg@10", "ci_low", "ci_high", "relative", "better_share", "worse_share"} <= set(result["gain"])
    assert ("bm25" in {row["name"] for row in result["rows"]}) == (task == "ask")
    assert ("first-list" in {row["name"] for row in result["rows"]}) == (task == "newcomer")
    assert ("circle-list" in {row["name"] for row in result["rows"]}) == (task not in ("newcomer", "ask"))
    table = reporting.as_markdown(records, task)
    assert all(f"| {name} |" in table for name in NAMES)


def test_the_same_run_gives_the_same_numbers(make_bench: MakeBench, folder: Path, tmp_path: Path) -> None:
    first = measured(make_bench, folder, "discover", tmp_path / "a")
    second = measured(make_bench, folder, "discover", tmp_path / "b")
    assert without_seconds(first) == without_seconds(second)


def test_a_killed_run_goes_on_where_it_was(make_bench: MakeBench, folder: Path, tmp_path: Path) -> None:
    bench = make_bench(folder, "discover")
    whole = running.run(bench, bench.questions.cases[:2], bench.results(tmp_path), quiet=True)
    path = bench.results(tmp_path).path
    kept, cut = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(kept + cut[: len(cut) // 2])
    again = bench.results(tmp_path)
    assert list(again.done) == [whole[0]["key"]]
    resumed = running.run(bench, bench.questions.cases[:2], again, quiet=True)
    assert resumed[0] == whole[0]  # seconds too: it was not measured again
    assert without_seconds(resumed) == without_seconds(whole)


def test_results_of_other_data_are_not_taken(make_bench: MakeBench, folder: Path, tmp_path: Path) -> None:
    before = make_bench(folder, "discover").results(tmp_path).path
    with (folder / "listens.tsv").open("a") as stream:
        stream.write("user 0\ts1\t1\t\t\n")
    assert make_bench(folder, "discover").results(tmp_path).path != before


def test_nothing_is_left_of_the_measured_adapters(make_bench: MakeBench, folder: Path, tmp_path: Path) -> None:
    bench = make_bench(folder, "discover")
    records = running.run(bench, bench.questions.cases[:1], bench.results(tmp_path), quiet=True)
    assert records[0]["promoted"] is not None
    assert not list(bench.engine.store.root.glob("*"))


def test_no_version_goes_live_below_the_products_least_number_of_songs(
    make_bench: MakeBench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "gate", lambda *_: evaluation.Verdict(True, 1.0, 1.0, 1.0, ""))
    bench = make_bench(folder, "likes")
    case = bench.questions.cases[0]
    own, off = towers.own_of(case, bench.data.songs), np.zeros(len(bench.data.songs), np.float32)
    enough, more = (personal(bench.engine, case, own, off, least) for least in (case.logged, case.logged + 1))
    assert enough.promoted and not more.promoted
    assert np.array_equal(enough.gated, enough.ungated) and np.array_equal(more.gated, off)
    np.testing.assert_array_equal(more.ungated, enough.ungated)


def test_a_line_that_is_no_record_ends_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"key": "a"}\n[1]\n{"key": "b"}\n')
    assert list(Results(path).done) == ["a"]


# -- one contract for every row ------------------------------------------------------------------

EVEN = {f"u{u}": [s for s in range(20) if s % 2 == u % 2 and s != 2 * u + u % 2] for u in range(8)}
ASKED = Case("u0", "u0", dict.fromkeys(EVEN["u0"], 1.0), (0,), tuple(EVEN["u0"]), ())


@pytest.mark.parametrize("fit", [item_knn, als])
def test_an_even_taste_is_given_the_even_song_that_was_withheld(fit: Any) -> None:
    values = fit(EVEN, 20)(ASKED)
    assert values.shape == (20,)
    values[list(ASKED.out)] = -np.inf
    assert int(values.argmax()) == 0


def test_popularity_counts_listeners() -> None:
    values = popularity({"a": [3, 4], "b": [3]}, 6)(ASKED)
    assert values.argsort()[::-1][:2].tolist() == [3, 4]


ROW_TESTS = ["item-knn in the crowd", "als in the crowd", "base", "linear-map", "free-vector", "adapter"]


def test_every_row_ranks_even_songs_first_for_an_even_listener(
    make_bench: MakeBench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(folder, "discover")
    case = next(c for c in bench.questions.cases if c.group == "user 4")
    seen: dict[str, Any] = {}
    for name, regime, values, _ in running.Rows(bench)._scored(case, {}):
        seen[running.row_name(name, regime)] = values
    for row in ROW_TESTS:
        ranked = [s for s in np.argsort(-seen[row]).tolist() if s not in case.out]
        share = np.mean([s % 2 == 0 for s in ranked[: len(case.hidden)]])
        assert share >= 0.8, row


def test_fits_do_not_fail_on_songs_that_nobody_else_knows() -> None:
    for fit in (popularity, item_knn, als):
        values = fit({"u0": [], "u1": [7]}, 9)(Case("u0", "u0", {1: 1.0}, (2,), (1,), ()))
        assert values.shape == (9,) and np.isfinite(values).all()


# -- measures -----------------------------------------------------------------------------------


def test_measures_agree_with_a_count_by_hand() -> None:
    values = np.array([9, 8, 7, 6, 5, 4], np.float32)
    case = Case("k", "k", {0: 1.0}, (1, 3), (0,), ())
    found = measure(values, case)
    ideal = 1 + 1 / math.log2(3)
    assert found["ndcg@10"] == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert found["recall@10"] == 1 and found["auc"] is None
    liked = measure(values, Case("k", "k", {}, (1, 3), (), (), wrong=(2, 5)))
    assert liked["auc"] == pytest.approx(0.75) and liked["ndcg@10"] is None


def test_scores_that_are_not_finite_are_no_result() -> None:
    with pytest.raises(ValueError, match="finite"):
        measure(np.array([np.nan, 1], np.float32), Case("k", "k", {}, (1,), (), ()))


def test_the_interval_is_of_paired_differences() -> None:
    base = np.linspace(0, 1, 50)
    found = gain((base + 0.01).tolist(), base.tolist())
    assert found.difference.low == pytest.approx(0.01) == found.difference.high
    assert found.better == 1 and found.worse == 0
    alone = bootstrap(base)
    assert alone.high - alone.low > 0.1


def test_ties_are_broken_by_the_case_and_not_by_the_row_number() -> None:
    draws = [noise(Case(str(i), "", {}, (), (), ()), 50).argmax() for i in range(20)]
    assert len(set(draws)) > 10


def test_bm25_finds_the_text_with_the_rare_word_first() -> None:
    index = Bm25(["the blue song by anyone", "the red song by anyone", "the song the song"])
    assert int(index.scores("the red one").argmax()) == 1
    assert not index.scores("nothing here").any()
