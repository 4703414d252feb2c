"""``python -m app`` is ``earshot``."""

from app.cli import main

main(prog_name="earshot")
