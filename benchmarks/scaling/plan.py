"""Hardware and cost for a number of listeners and songs: arithmetic on measured unit costs and stated assumptions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.scaling.units import Units

LISTENERS = (10_000, 1_000_000, 100_000_000)
SONGS = (100_000, 1_000_000, 10_000_000, 100_000_000)
GB = 1e9
_DAY = 86_400
_WEEK = 7 * _DAY


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What cannot be measured here. Prices are round ones of rented machines in 2026, in euros a month."""

    asks_a_day: float = 2.0  # lists that a listener asks for
    encoding_share: float = 0.3  # of them with a wish or new songs, so with a forward pass
    texts_an_ask: float = 4.0  # read in such a pass
    peak: float = 4.0  # busiest second against the mean
    used: float = 0.6  # of a core's time, so that nobody queues long
    listens: int = 2_000  # rows of a listener, over the years
    versions: int = 3  # kept of a listener's adapter
    warm_share: float = 0.15  # of the listeners who come within the hours that an adapter stays in RAM
    copies: int = 2  # of what must survive a machine
    exact_songs: int = 1_000_000  # up to here every song is scored; beyond, the index is asked
    index_share: float = 0.02  # of the rows that the index reads
    index_bytes: int = 64  # a row in the index beyond ten million songs (product quantisation)
    cores_a_machine: int = 16
    ram_a_machine_gb: float = 64.0
    euros_a_core: float = 4.0  # with 4 GB of RAM
    euros_a_gb_ram: float = 0.8  # beyond that
    euros_a_gb_disk: float = 0.08
    euros_a_gb_objects: float = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """What one size takes. Replicas are encoder replicas of one core each."""

    listeners: int
    songs: int
    adapters_disk_gb: float
    adapters_ram_gb: float
    vectors_gb: float
    vectors_ram_gb: float
    ask_s: float
    asks_a_second: float
    encoder_replicas: int
    ranking_cores: int
    training_cores: int
    first_encoding_core_hours: float
    database_gb: float
    machines: int
    euros_a_month: float
    euros_a_listener: float


def rows_read(songs: int, given: Assumptions) -> float:
    """Rows that a list reads: all, or what the index looks into."""
    return float(songs) if songs <= given.exact_songs else given.index_share * songs


def vectors_in_ram(songs: int, units: Units, given: Assumptions) -> float:
    """Bytes of a catalogue that a ranking machine holds: float32 rows, 8-bit ones beyond a million, then PQ."""
    if songs <= given.exact_songs:
        return 4.0 * units.dimension * songs
    return float(songs * (units.dimension if songs <= 10 * given.exact_songs else given.index_bytes))


def read_cost(songs: int, units: Units, given: Assumptions) -> float:
    """Seconds of a core for scoring: a row of the index costs what its bytes are of a float32 row's."""
    share = vectors_in_ram(songs, units, given) / (4.0 * units.dimension * songs)
    return rows_read(songs, given) * units.scan_song_s * share


def plan(listeners: int, songs: int, units: Units, given: Assumptions | None = None) -> Plan:
    """Hardware and cost of one size."""
    given = given or Assumptions()
    asks = listeners * given.asks_a_day / _DAY * given.peak
    # A list that nothing changed for is answered from what is kept; counted is the dearer case, each ask scored anew.
    ask_s = units.ask_warm_s + read_cost(songs, units, given)
    encode_s = given.encoding_share * given.texts_an_ask * units.encode_mixed_s
    replicas = math.ceil(asks * encode_s / given.used)
    ranking = math.ceil(asks * ask_s / given.used)
    training = math.ceil(listeners * units.retrain_s / (_WEEK * given.used))
    disk = listeners * given.versions * (units.adapter_disk_bytes + units.own_vectors_bytes) / GB
    # Own songs' vectors are kept in half the bytes that they have on disk.
    ram = listeners * given.warm_share * (units.adapter_ram_bytes + units.own_vectors_bytes / 2) / GB
    on_disk, held = 4.0 * units.dimension * songs / GB, vectors_in_ram(songs, units, given) / GB
    database = listeners * given.listens * units.listen_bytes / GB
    cores = max(2, replicas + ranking + training)
    by_cores = math.ceil(cores / given.cores_a_machine)
    # Where a catalogue fits a machine beside all else, every ranking machine holds it; else it is cut in shards.
    shards = math.ceil(held / (given.ram_a_machine_gb / 2))
    machines = max(by_cores, shards, math.ceil((ram + held) / given.ram_a_machine_gb))
    needed_ram = ram + held * max(1, math.ceil(ranking / given.cores_a_machine) // shards)
    extra = max(0.0, needed_ram - 4.0 * cores)
    euros = (
        cores * given.euros_a_core
        + extra * given.euros_a_gb_ram
        + given.copies * (database + on_disk) * given.euros_a_gb_disk
        + disk * given.euros_a_gb_objects
    )
    return Plan(
        listeners, songs, disk, ram, on_disk, held, ask_s, asks, replicas, ranking, training,
        songs * units.encode_song_s / 3600, database, machines, euros, euros / listeners,
    )  # fmt: skip


def all_plans(units: Units, given: Assumptions | None = None) -> list[Plan]:
    """Every size of docs/scaling.md."""
    return [plan(listeners, songs, units, given) for listeners in LISTENERS for songs in SONGS]


def amount(value: float) -> str:
    """Three digits, so that nobody takes an estimate for more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def units_table(units: Units) -> str:
    """Markdown of the unit costs."""
    rows = [
        ("numbers of an adapter", f"{units.adapter_numbers:,}"),
        ("an adapter in RAM, on disk", f"{units.adapter_ram_bytes:,} B, {units.adapter_disk_bytes:,} B"),
        ("100 own songs' vectors beside it", f"{units.own_vectors_bytes:,} B"),
        ("a listen in the database", f"{units.listen_bytes:,} B"),
        ("a song of the catalogue encoded", f"{1000 * units.encode_song_s:.2f} ms"),
        ("a text through a listener's adapter, in a batch of many", f"{1000 * units.encode_mixed_s:.2f} ms"),
        ("a song scored (exact, best 50)", f"{1e6 * units.scan_song_s:.2f} µs"),
        ("a list over 10,000 songs, all else included", f"{1000 * units.ask_warm_s:.1f} ms"),
        ("a retrain on 100 songs", f"{units.retrain_s:.2f} s"),
        ("an adapter read and checked from disk", f"{1000 * units.reread_s:.2f} ms"),
    ]
    head = f"Measured on {units.machine}, {units.date}; seconds of one core.\n\n| what | cost |\n|---|---|\n"
    return head + "".join(f"| {name} | {cost} |\n" for name, cost in rows)


def plans_table(plans: list[Plan]) -> str:
    """Markdown of the plans."""
    lines = [
        "| listeners | songs | adapters on disk, warm in RAM | vectors on disk, in RAM | lists a second at peak "
        "| encoder replicas | ranking cores | training cores | database | machines | € a month | a listener |",
        "|" + "---|" * 12,
    ]
    for each in plans:
        lines.append(
            f"| {each.listeners:,} | {each.songs:,} "
            f"| {amount(each.adapters_disk_gb)} GB, {amount(each.adapters_ram_gb)} GB "
            f"| {amount(each.vectors_gb)} GB, {amount(each.vectors_ram_gb)} GB | {amount(each.asks_a_second)} "
            f"| {each.encoder_replicas:,} | {each.ranking_cores:,} | {each.training_cores:,} "
            f"| {amount(each.database_gb)} GB | {each.machines:,} | {amount(each.euros_a_month)} "
            f"| {each.euros_a_listener:.4f} |"
        )
    return "\n".join(lines) + "\n"
