"""Hyperparameters that `earshot tune` has chosen: one file beside the music adapters, read when a retrain starts.

The file maps a base's fingerprint and a ranking rule to what differs from the built-in defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from app.errors import BadInput
from app.lm.targets import TargetSettings
from app.lm.trainer import TrainingSettings

FILE = "tuned.json"
_TRAINING = ("learning_rate", "steps")  # `steps` is the adapter's; the softmax's are no matter of taste
_TARGET = {f.name for f in fields(TargetSettings)} - set(_TRAINING)


def read(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """What was chosen: by fingerprint, then by rule. A file that is missing has chosen nothing.

    Raises BadInput for a file that cannot be read as such.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for rules in found.values():
            for chosen in rules.values():
                apply(TrainingSettings(), chosen)
    except (ValueError, AttributeError, TypeError) as problem:
        raise BadInput(
            f"{path} is not a file that `earshot tune` wrote ({problem}). Delete it or tune again."
        ) from None
    return dict(found)


def chosen_for(defaults: TrainingSettings, path: Path | None, fingerprint: str) -> TrainingSettings:
    """The defaults, or what was chosen for a base and the defaults' rule. Raises BadInput as ``read`` does."""
    chosen = read(path) if path else {}
    return apply(defaults, chosen.get(fingerprint, {}).get(defaults.rule, {}))


def apply(settings: TrainingSettings, chosen: Mapping[str, Any]) -> TrainingSettings:
    """The settings with what was chosen in place of the defaults. Raises ValueError for a name that is none."""
    unknown = set(chosen) - _TARGET - set(_TRAINING)
    if unknown:
        raise ValueError(f"no hyperparameters: {', '.join(sorted(unknown))}")
    target = {name: _number(name, value) for name, value in chosen.items() if name in _TARGET}
    training = {name: _number(name, value) for name, value in chosen.items() if name in _TRAINING}
    return replace(settings, target=replace(settings.target, **target), **training)


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{name} is {value!r}, not a number above 0")
    return int(value) if name == "steps" else float(value)


def write(path: Path, fingerprint: str, rule: str, chosen: Mapping[str, float]) -> None:
    """Add one base's and rule's choice to the file, replacing an older one."""
    found = read(path)
    found.setdefault(fingerprint, {})[rule] = dict(chosen)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
