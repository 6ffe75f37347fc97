"""The architecture, held: nothing imports against the order of the layers."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each layer, from the bottom up, with the packages in it. A module may import from its own layer's package and from
# every layer below; packages that share a layer do not know each other.
LAYERS = (
    ("sw.formats", "sw.cache", "sw.files"),
    ("sw.reference",),
    ("sw.quantize", "hw"),
    ("sw.ptq",),
    ("sw.nn",),
    ("sw.train",),
    ("sw.export",),
    ("synth",),
    ("platforms",),
    ("synth.verbs", "synth.__main__"),
)

MODULES = sorted(path for folder in ("sw", "hw", "synth", "platforms") for path in (ROOT / folder).rglob("*.py"))

# Where importing torch is the point; everywhere else it may only happen inside a function of the synth layer.
TORCH_PACKAGES = ("sw.quantize", "sw.ptq", "sw.nn", "sw.train", "sw.export", "synth.nn", "synth.netlist.torch")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(name: str) -> str | None:
    """Return the listed package that a module belongs to, the most specific one."""
    packages = [package for layer in LAYERS for package in layer]
    inside = [package for package in packages if name == package or name.startswith(package + ".")]
    return max(inside, key=len, default=None)


def level_of(package: str) -> int:
    return next(level for level, layer in enumerate(LAYERS) if package in layer)


def imports(tree: ast.AST) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: imports are absolute here"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def violations(name: str, tree: ast.AST) -> list[str]:
    package = package_of(name)
    if package is None:
        return []
    wrong = []
    for imported, line in imports(tree):
        other = package_of(imported)
        if other is None or other == package:
            continue
        if level_of(other) >= level_of(package) and not {package, other} <= set(LAYERS[-1]):
            wrong.append(f"{name}, line {line}: {package} must not import {imported}")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_follow_the_layers(path):
    assert violations(module_name(path), ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_torch_is_imported_at_module_level_by_the_quantizers_alone(path):
    name = module_name(path)
    if name.startswith(TORCH_PACKAGES):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside_functions = {id(inner) for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))
                        for inner in ast.walk(node)}
    eager = [node.lineno for node in ast.walk(tree) if id(node) not in inside_functions
             and any(imported.split(".")[0] == "torch" or imported.startswith("sw.quantize")
                     for imported, _ in (imports(node) if isinstance(node, (ast.Import, ast.ImportFrom)) else []))]
    assert eager == []


def test_sw_itself_is_empty():
    assert (ROOT / "sw" / "__init__.py").read_text() == ""


@pytest.mark.parametrize(("name", "source", "count"), [
    ("sw.formats.x", "import sw.reference", 1),
    ("sw.reference.x", "from sw.formats import parse", 0),
    ("hw.x", "from sw.quantize import to_codes", 1),
    ("hw.x", "from synth import flow", 1),
    ("synth.x", "import platforms.boards", 1),
    ("synth.x", "from synth.verbs import build", 1),
    ("synth.verbs.x", "from platforms.boards import find_board", 0),
    ("synth.verbs.x", "from synth.__main__ import main", 0),
])
def test_the_check_finds_violations(name, source, count):
    assert len(violations(name, ast.parse(source))) == count
