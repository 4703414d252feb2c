"""What the engine shows beyond single lists: blends, likeness, the map."""

from __future__ import annotations

from app.lm.blending import Blending
from app.lm.layout import Laying


class Views(Blending, Laying):
    """The parts of the engine that live in files of their own."""
