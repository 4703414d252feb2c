"""What the engine shows beyond single lists: blends, likeness, the map, what lies near."""

from __future__ import annotations

from app.lm.blending import Blending
from app.lm.layout import Laying
from app.lm.nearby import Nearness


class Views(Blending, Laying, Nearness):
    """The parts of the engine that live in files of their own."""
