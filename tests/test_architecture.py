"""The rooms keep to design.md's import table, files stay short, and torch stays where it is needed."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import PROJECT

APP = PROJECT / "app"
FILES = sorted(APP.rglob("*.py"))
# The shell's commands are spread over cli.py and its neighbours.
COMMANDS = {file.stem for file in APP.glob("cli*.py")}
WIRING = {"main", "opening", "upkeep", "logs", "worker", "training", "resting", "serving", "__main__"} | COMMANDS
TORCH_FREE_LM = {"app.lm.asking", "app.lm.song_text"}
TORCH_STACK = {"torch", "transformers", "peft", "safetensors", "huggingface_hub", "numpy"}

# What of ours each room may import at run time.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "heaps": set(),
    "objects": {"errors"},
    "settings": set(),
    "tables": {"errors", "tables"},
    "tables_circle": {"tables"},
    "tables_imports": {"tables"},
    "tables_players": {"tables"},
    "tables_lists": {"tables"},
    "tables_sharing": {"tables"},
    "db": {"errors", "tables"},
    "starter": {"starter"},
    "lm": {"lm", "errors", "objects"},
    "services": {
        "services",
        "tables",
        "tables_circle",
        "tables_imports",
        "tables_players",
        "tables_sharing",
        "db",
        "errors",
        "objects",
        "starter",
    },
    # Wires like main.py, on several machines.
    "cluster": {
        "cluster",
        "main",
        "opening",
        "logs",
        "worker",
        "upkeep",
        "lm",
        "services",
        "tables",
        "db",
        "errors",
        "settings",
    },
    # The State that routes share holds the settings and the database; main.py puts both in.
    "web": {"web", "services", "tables", "tables_imports", "tables_players", "errors", "settings", "db"},
}


@functools.cache
def tree_of(file: Path) -> ast.Module:
    """A file as Python reads it."""
    return ast.parse(file.read_text(encoding="utf-8"))


def room_of(file: Path) -> str:
    """The part of app/ that a file belongs to."""
    return file.relative_to(APP).parts[0].removesuffix(".py")


def imports(file: Path) -> list[tuple[str, bool]]:
    """(module, for the type checker only) of each import in a file, wherever it stands."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, checking: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, True)
            for child in node.orelse:
                visit(child, checking)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, checking) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            found.append((module, checking))
            if module in ("app", "app.lm", "app.services", "app.web", "app.starter"):
                found.extend((f"{module}.{alias.name}", checking) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child, checking)

    visit(tree_of(file), False)
    return found


def test_every_room_is_in_the_table() -> None:
    rooms = {room_of(file) for file in FILES} - WIRING - {"__init__"}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_a_room_imports_only_what_the_table_allows(file: Path) -> None:
    room = room_of(file)
    if room in WIRING or room == "__init__":
        return
    for module, checking in imports(file):
        parts = module.split(".")
        if parts[0] == "app" and len(parts) > 1:
            if checking and room in ("services", "web") and parts[1] == "lm":
                continue  # types of the engine are for the type checker only
            assert parts[1] in MAY_IMPORT[room], f"{room} imports {module}"
        elif room != "lm":
            assert parts[0] not in TORCH_STACK, f"{room} imports {module}"
        if room in ("errors", "settings", "lm", "starter"):
            assert parts[0] not in ("sqlalchemy", "fastapi", "starlette"), f"{room} imports {module}"
        if room == "services":
            assert parts[0] not in ("fastapi", "starlette"), f"{room} imports {module}"


def test_the_engines_vocabulary_is_free_of_torch() -> None:
    for name in TORCH_FREE_LM:
        file = PROJECT / (name.replace(".", "/") + ".py")
        for module, _ in imports(file):
            root = module.split(".")[0]
            assert root not in TORCH_STACK, f"{name} imports {module}"
            assert root != "app" or module in TORCH_FREE_LM, f"{name} imports {module}"


def test_main_and_cli_import_the_engine_only_inside_functions() -> None:
    for name in ("main", "cli", "cli_pretrain", "opening", "worker", "serving", "resting"):
        tree = tree_of(APP / f"{name}.py")
        at_top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module}
        assert {m for m in at_top if m.startswith("app.lm")} <= TORCH_FREE_LM


def imported_with(modules: str, looked_for: set[str]) -> str:
    """Which of some modules are there once others were imported, as a list in words."""
    code = f"import sys, {modules}; print([m for m in {sorted(looked_for)!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["app.cli", "app.main", "app.web.taste", "app.services.retraining", "app.worker"])
def test_pages_and_shell_start_without_torch(module: str) -> None:
    assert imported_with(module, TORCH_STACK - {"numpy"}) == "[]"


def test_the_worker_sweeps_removes_and_shreds_without_torch_and_holds_no_pages() -> None:
    touched = "app.cli, app.worker, app.upkeep, app.lm.shared_store, app.lm.shared_vectors, app.lm.compacting"
    pages = {"fastapi", "starlette", "jinja2", "uvicorn", "app.main", "zxcvbn"}
    assert imported_with(touched, (TORCH_STACK | pages) - {"numpy", "safetensors"}) == "[]"


def test_only_settings_read_the_environment() -> None:
    readers: dict[str, list[str]] = {}
    for file in FILES:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"):
                readers.setdefault(str(file.relative_to(APP)), []).append(ast.unparse(node))
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                assert not {a.name for a in node.names} & {"environ", "getenv"}, f"{file} imports it from os"
    # base.py keeps the hub quiet before transformers is imported; serving.py hands its own environment to the worker.
    assert set(readers) <= {"settings.py", "lm/base.py", "serving.py"}
    base = (APP / "lm" / "base.py").read_text(encoding="utf-8")
    assert base.count("os.environ") == base.count("os.environ.setdefault(")
    serving = (APP / "serving.py").read_text(encoding="utf-8")
    assert serving.count("os.environ") == serving.count("os.environ.copy()")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_no_file_is_a_god(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 350


def _public(tree: ast.AST, inside: str = "") -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    found: list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]] = []
    for node in getattr(tree, "body", []):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        found.append((f"{inside}{node.name}", node))
        if isinstance(node, ast.ClassDef):
            found += _public(node, f"{node.name}.")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_everything_public_says_what_it_is_for(file: Path) -> None:
    tree = tree_of(file)
    assert ast.get_docstring(tree) or not tree.body, "the module has no docstring"
    missing = []
    for name, node in _public(tree):
        is_route = any("router." in ast.unparse(d) for d in node.decorator_list)  # the path and name say it
        is_protocol_member = "." in name and _of_protocol(tree, name.split(".")[0])
        if not ast.get_docstring(node) and not is_route and not is_protocol_member:
            missing.append(name)
    assert missing == []


def _of_protocol(tree: ast.Module, name: str) -> bool:
    owner = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)
    return owner is not None and any("Protocol" in ast.unparse(b) for b in owner.bases)
