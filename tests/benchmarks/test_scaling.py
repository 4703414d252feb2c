"""docs/scaling.md holds: its tables are the script's, the arithmetic is sound, and the hits are the slots' own."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest

from app.settings import PROJECT
from benchmarks.scaling import hits, plan
from benchmarks.scaling.units import recorded

DOCUMENT = PROJECT / "docs" / "scaling.md"


def test_the_document_has_the_tables_that_the_script_prints() -> None:
    units = recorded()
    text = DOCUMENT.read_text(encoding="utf-8")
    assert plan.units_table(units) in text
    assert plan.plans_table(plan.all_plans(units)) in text


def test_the_document_has_a_row_of_the_simulation_for_each_case() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for case in hits.cases():
        start = (
            f"| {case.listeners:,} | {case.replicas:,} | {'their own' if case.at_home else 'any'} | {case.slots:,} "
            f"| {case.kept:,} | {case.skew} |"
        )
        assert re.search(re.escape(start) + r" [0-9.]+ % \| [0-9.]+ % \|", text), start


def test_every_size_asked_for_is_planned() -> None:
    plans = plan.all_plans(recorded())
    assert [(each.listeners, each.songs) for each in plans] == [
        (listeners, songs) for listeners in (10**4, 10**6, 10**8) for songs in (10**5, 10**6, 10**7, 10**8)
    ]


@pytest.mark.parametrize("songs", plan.SONGS)
def test_more_listeners_take_more_of_everything_that_is_theirs(songs: int) -> None:
    units = recorded()
    small, large = plan.plan(10_000, songs, units), plan.plan(1_000_000, songs, units)
    assert large.adapters_disk_gb == pytest.approx(100 * small.adapters_disk_gb)
    assert large.database_gb == pytest.approx(100 * small.database_gb)
    assert large.vectors_gb == small.vectors_gb
    assert large.training_cores > small.training_cores and large.euros_a_listener < small.euros_a_listener


def test_a_week_of_retrains_fits_the_training_cores() -> None:
    units, given = recorded(), plan.Assumptions()
    for each in plan.all_plans(units):
        have = each.training_cores * given.used * 7 * 86_400
        assert have >= each.listeners * units.retrain_s
        assert (each.training_cores - 1) * given.used * 7 * 86_400 < each.listeners * units.retrain_s


def test_a_dearer_unit_makes_a_dearer_plan() -> None:
    units = recorded()
    for name in ("retrain_s", "encode_mixed_s", "ask_warm_s", "scan_song_s"):
        dearer = replace(units, **{name: 100 * getattr(units, name)})
        assert plan.plan(10**6, 10**6, dearer).euros_a_month > plan.plan(10**6, 10**6, units).euros_a_month, name


def test_the_slots_hit_as_often_as_a_least_recently_used_cache() -> None:
    case, requests = hits.Case(500, 1, 32, 100, 1.0), 4000
    draw = np.random.default_rng(1)
    shares = hits.popularity(500, 1.0, 500, draw)
    asked = np.minimum(np.searchsorted(shares, draw.random(requests)), 499)
    slots: OrderedDict[int, None] = OrderedDict()
    counted = 0
    for number, listener in enumerate(asked.tolist()):
        counted += number >= requests // 2 and listener in slots
        slots[listener] = None
        slots.move_to_end(listener)
        if len(slots) > 32:
            slots.popitem(last=False)
    found = hits.simulate(case, requests)
    assert found.slot == counted / (requests // 2)
    assert found.slot <= found.ram <= 1


def test_listeners_at_home_hit_more_than_listeners_anywhere() -> None:
    home, anywhere = (hits.simulate(hits.Case(2000, 4, 64, 200, 0.9, at_home), 8000) for at_home in (True, False))
    assert home.slot > anywhere.slot and home.ram > anywhere.ram
