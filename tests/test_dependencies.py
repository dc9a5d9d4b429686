"""Imports inside the library run one way, and slow packages are not imported before they are needed."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "amtgan_lib"

# What each module (or package, with all its submodules) may import of ours; imports inside functions count too.
ALLOWED: dict[str, set[str]] = {
    "lazy": set(),
    "paths": set(),
    "images": set(),
    "models": set(),
    "losses": set(),
    "assets": {"paths"},
    "recognizers": {"assets", "images", "paths"},
    "faces": {"assets", "images", "paths"},
    "portraits": set(),
    "compute": set(),
    "recognizer_training": {"compute", "portraits", "recognizers"},
    "datasets": {"faces", "portraits", "assets", "images", "paths"},
    "recipes": {"losses"},
    "hints": {"losses", "recognizers"},
    "distillation": {"compute", "hints", "recognizer_training", "recognizers"},
    "training": {
        "compute",
        "models",
        "losses",
        "datasets",
        "recognizers",
        "recipes",
        "hints",
        "images",
        "paths",
        "pipeline",
    },
    "attacks": {"losses", "datasets", "recognizers", "images"},
    "targets": {"faces", "images", "paths", "portraits", "recognizers"},
    "protection": {"models", "faces", "images", "paths", "recipes", "hints", "recognizers", "targets"},
    "methods": {"attacks", "protection", "recognizers", "datasets", "faces", "recipes", "models", "targets", "losses"},
    "results": {"paths"},
    "comparison": {"evaluation", "methods", "recognizers", "results", "faces", "protection"},
    "evaluation": {"recognizers", "images", "results", "faces", "assets", "datasets", "losses"},
    "figures": {"results"},
    "explorer": {"datasets", "evaluation", "figures", "paths", "results"},
    "studio": {
        *("assets", "datasets", "evaluation", "faces", "images", "losses", "models", "paths", "protection", "recipes"),
        *("recognizers", "targets"),
    },
    "widgets": {"studio", "figures", "faces", "images"},
    "video": {"protection", "faces", "images"},
    "pipeline": {"paths", "results"},
    "commands": {"protection", "evaluation", "recognizers", "targets", "faces", "images", "paths"},
    # `from amtgan_lib import protect`, loaded on first use.
    "__init__": {"compute", "protection"},
}
FREE = {"__main__"}

# `import torchvision` alone costs seconds; the others bring it, or something as slow, along.
SLOW = {"torchvision", "lpips", "mediapipe", "timm", "torchmetrics", "skimage", "av"}
# File -> slow packages that it cannot do without at import time, each with its reason.
UNAVOIDABLE: dict[str, set[str]] = {}


def module_name(path: Path, library: Path = LIBRARY) -> str:
    """Name of the top-level module or package that a file belongs to."""
    parts = path.relative_to(library).with_suffix("").parts
    return parts[0]


def dotted_imports(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Yield the dotted names that one statement imports, relative ones resolved against `package`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        stem = ".".join(base + ([node.module] if node.module else []))
        yield from (f"{stem}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] in {"import_module", "__import__"}:
        yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def our_imports(path: Path, library: Path = LIBRARY) -> set[str]:
    """Names of our modules that a file imports anywhere, itself left out."""
    package = [library.name, *path.relative_to(library).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        for dotted in dotted_imports(node, package):
            head, *rest = dotted.split(".")
            if head == library.name and rest and rest[0] != "__version__":
                # The package lends `protect` out under its own name; it is protection's all the same.
                names.add("protection" if rest[0] == "protect" else rest[0])
    return names - {module_name(path, library)}


def statements_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported: no function bodies, nothing for type checkers only."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from statements_at_import(node.orelse)
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from statements_at_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from statements_at_import(handler.body)


def slow_imports(source: str) -> set[str]:
    """Slow packages that importing a module with this source would import."""
    dotted = (name for node in statements_at_import(ast.parse(source).body) for name in dotted_imports(node, []))
    return {name.split(".")[0] for name in dotted} & SLOW


FILES = {str(path.relative_to(LIBRARY)): path for path in sorted(LIBRARY.rglob("*.py"))}


def test_imports_run_one_way():
    assert FILES
    ruled = {name: path for name, path in FILES.items() if module_name(path) not in FREE}
    assert {module_name(path) for path in ruled.values()} == set(ALLOWED), "the table has one row a module"
    wrong = {name: our_imports(path) - ALLOWED[module_name(path)] for name, path in ruled.items()}
    assert {name: imports for name, imports in wrong.items() if imports} == {}


def test_slow_packages_are_imported_where_they_are_used():
    found = {name: slow_imports(path.read_text()) - UNAVOIDABLE.get(name, set()) for name, path in FILES.items()}
    assert {name: packages for name, packages in found.items() if packages} == {}


def test_table_has_no_circle():
    order = list(TopologicalSorter(ALLOWED).static_order())
    assert set(order) == set(ALLOWED), "the table allows a module that has no row of its own"


# The checks themselves


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("a.py", "import torch", set()),
        ("a.py", "import amtgan_lib.faces.mesh as m", {"faces"}),
        ("a.py", "from amtgan_lib import images, losses", {"images", "losses"}),
        ("a.py", "from amtgan_lib.faces import detect", {"faces"}),
        ("a.py", "from amtgan_lib import __version__", set()),
        ("a.py", "from amtgan_lib import protect", {"protection"}),
        ("a.py", "def f():\n    from amtgan_lib import faces", {"faces"}),
        ("a.py", "from . import images", {"images"}),
        ("a.py", "from .images import resize", {"images"}),
        ("a.py", "import importlib\nimportlib.import_module('amtgan_lib.training')", {"training"}),
        ("a/__init__.py", "from . import inner\nfrom .inner import x", set()),
        ("a/__init__.py", "from ..images import resize", {"images"}),
        ("a/deep/b.py", "from ... import images\nfrom ..other import x", {"images"}),
    ],
)
def test_our_imports_sees_every_form(tmp_path, file, source, expected):
    path = tmp_path / "amtgan_lib" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert our_imports(path, tmp_path / "amtgan_lib") == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torchvision.ops", {"torchvision"}),
        ("from lpips import LPIPS", {"lpips"}),
        ("try:\n    import timm\nexcept ImportError:\n    import skimage", {"timm", "skimage"}),
        ("class A:\n    import torchmetrics", {"torchmetrics"}),
        ("with x:\n    if y:\n        import mediapipe", {"mediapipe"}),
        ("def f():\n    import torchvision", set()),
        ("class A:\n    def f(self):\n        import torchvision", set()),
        ("if TYPE_CHECKING:\n    import torchvision", set()),
        ("if typing.TYPE_CHECKING:\n    import torchvision\nelse:\n    import timm", {"timm"}),
    ],
)
def test_slow_imports_sees_what_runs_at_import(source, expected):
    assert slow_imports(source) == expected
