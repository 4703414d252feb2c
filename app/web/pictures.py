"""Pictures as SVG inside the page, drawn by pygal on the server.

pygal writes colours and sizes into a style sheet and a script of its own; both are taken out, since our policy allows
none inside a page, and static/pictures.css says how its classes look in light and dark. Every picture is hidden from
those who cannot see it (``aria-hidden``): the template puts a text or a table with the same content beside it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import pygal
from markupsafe import Markup
from pygal.etree import etree
from pygal.style import Style

# pygal puts an importer for its maps in front of Python's own, of a kind that Python is giving up; we use no maps.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

_PLAIN = {
    "show_legend": False, "js": [], "css": [], "no_prefix": True, "disable_xml_declaration": True, "margin": 8,
    "spacing": 6, "print_values": False, "truncate_label": 22,
    "style": Style(label_font_size=15, major_label_font_size=15),  # what room the words take; pictures.css sets them so
}  # fmt: skip

Point = tuple[float, float]


def render(chart: Any, words: Sequence[str] = ()) -> Markup:
    """A pygal chart as SVG for a page with a strict policy: no style, no script, no attribute of either.

    ``words`` stand in place of the dots of the last series, in their order.
    """
    root = chart.render_tree()
    if words:
        last = [
            g for g in root.iter("g") if g.get("class", "").startswith(f"series serie-{len(chart.raw_series) - 1} ")
        ]
        dots = [dot for group in last for dot in group.iter("circle")]
        for dot, word in zip(dots, words, strict=True):
            dot.tag = "text"
            dot.text, dot.attrib["x"], dot.attrib["y"] = word, dot.attrib.pop("cx"), dot.attrib.pop("cy")
            dot.attrib["class"] = "region"
    for parent in list(root.iter()):
        for child in list(parent):
            kind = child.tag if isinstance(child.tag, str) else ""
            if not kind or kind.split("}")[-1] in ("style", "script", "defs", "title", "desc"):
                parent.remove(child)
        for name in [n for n in parent.attrib if n == "style" or n.startswith("on")]:
            del parent.attrib[name]
        for name in ("x", "y", "id"):
            if parent.attrib.get(name) == "":
                del parent.attrib[name]
    root.attrib.pop("id", None)
    root.attrib |= {"aria-hidden": "true", "focusable": "false"}
    return Markup(etree.tostring(root, encoding="unicode"))


def loss_curve(losses: Sequence[float]) -> Markup:
    """The loss at each step so far; empty before the second."""
    if len(losses) < 2:
        return Markup("")
    chart = pygal.Line(
        width=440,
        height=170,
        show_dots=False,
        show_x_labels=False,
        classes=("picture", "loss"),
        fill=True,
        min_scale=2,
        max_scale=4,
        **_PLAIN,
    )
    chart.value_formatter = lambda value: f"{value:.2f}"
    low, high = min(losses), max(losses)
    room = (high - low or abs(high) or 1.0) * 0.05
    chart.range = (low - room, high + room)
    chart.zero = low - room
    chart.add("loss", list(losses))
    return render(chart)


def bars(counted: Iterable[tuple[str, int]], *, upright: bool = False) -> Markup:
    """Counts by name, lying (the first on top) or upright (the first at the left)."""
    rows = list(counted)
    if not rows:
        return Markup("")
    kind = pygal.Bar if upright else pygal.HorizontalBar
    height = 220 if upright else 28 * len(rows) + 40
    chart = kind(width=440, height=height, classes=("picture", "bars"), **_PLAIN)
    rows = rows if upright else rows[::-1]
    chart.x_labels = [name for name, _ in rows]
    chart.value_formatter = lambda value: f"{value:,.0f}"
    chart.add("plays", [count for _, count in rows])
    return render(chart)


def places(pairs: Sequence[tuple[int, int]]) -> Markup:
    """Where each hidden song stood before and after, on a logarithmic scale with the first place on top."""
    if not pairs:
        return Markup("")
    chart = pygal.XY(
        width=440, height=260, inverse_y_axis=True, show_x_labels=False, dots_size=5, stroke=False,
        classes=("picture", "places"), **_PLAIN,
    )  # fmt: skip
    most = max(max(pair) for pair in pairs)
    chart.y_labels = [{"value": e, "label": f"{10**e:,}"} for e in range(math.ceil(math.log10(most or 1)) + 1)]
    lines: list[Any] = []
    for n, (before, after) in enumerate(pairs):
        lines += [(n, math.log10(before)), (n, math.log10(after)), None]
    chart.add("moved", lines, stroke=True, show_dots=False, allow_interruptions=True)
    chart.add("before", [(n, math.log10(before)) for n, (before, _) in enumerate(pairs)])
    chart.add("after", [(n, math.log10(after)) for n, (_, after) in enumerate(pairs)])
    return render(chart)


_NAME_HIGH, _NAME_WIDE = 0.09, 0.016  # of a name on the map, whose sides are 2.1 long: half its width a letter


def matrices(inputs: int, outputs: int, rank: int) -> Markup:
    """One frozen matrix of outputs × inputs and beside it the two thin ones of an adapter, all to one scale."""
    gap = inputs * 0.12
    b_at, a_at = inputs + gap, inputs + 2 * gap + rank
    width = a_at + inputs
    chart = pygal.XY(
        width=640, height=round(640 * outputs / width), show_dots=False, fill=True, show_x_labels=False,
        show_y_labels=False, show_y_guides=False, classes=("picture", "matrices"),
        **(_PLAIN | {"margin": 0, "spacing": 0}),
    )  # fmt: skip
    chart.xrange, chart.range = (0, width), (0, outputs)
    for name, left, wide, high in (
        ("frozen", 0.0, inputs, outputs), ("B", b_at, rank, outputs), ("A", a_at, inputs, rank),
    ):  # fmt: skip
        chart.add(name, [(left, high), (left + wide, high)])
    return render(chart)


def song_map(
    others: Sequence[Point], mine: Sequence[tuple[Point, Point]], regions: Sequence[tuple[str, Point]]
) -> Markup:
    """The catalogue as faint dots, one's own songs lit where the base has them, a line to where the adapter puts each.
    mine: (by the base, by the adapter). The dots of ``mine`` keep their order, so that a script can name them."""
    chart = pygal.XY(
        width=720, height=720, stroke=False, show_x_labels=False, show_y_labels=False, show_y_guides=False,
        show_x_guides=False, dots_size=2, classes=("picture", "map"), **_PLAIN,
    )  # fmt: skip
    chart.xrange = chart.range = (-1.05, 1.05)
    chart.add("others", list(others))
    moves: list[Any] = []
    for base, now in mine:
        moves += [base, now, None]
    chart.add("moves", moves, stroke=True, show_dots=False, allow_interruptions=True)
    chart.add("mine", [base for base, _ in mine], dots_size=5)
    named = _apart(regions)
    chart.add("regions", [at for _, at in named], dots_size=1)
    return render(chart, [name for name, _ in named])


def _apart(regions: Sequence[tuple[str, Point]]) -> list[tuple[str, Point]]:
    """The regions, the first ones first, whose names do not run into one that is there already."""
    kept: list[tuple[str, Point]] = []
    for name, (x, y) in regions:
        if all(abs(y - v) > _NAME_HIGH or abs(x - u) > _NAME_WIDE * (len(name) + len(other)) for other, (u, v) in kept):
            kept.append((name, (x, y)))
    return kept
