"""Imports inside the library run one way, and slow packages are not imported before they are needed."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "amtgan_lib"

# The layers from top to bottom: a package or module may import only what stands below it. Written from docs/design.md,
# not from the code; imports inside functions count, those for type checkers too.
ORDER = (
    "__main__",
    "cli",
    "demos",
    "pipeline",
    "experiments",
    "__init__",  # `from amtgan_lib import protect`, loaded on first use
    "protection",
    "methods",
    "training",
    "evaluation",
    "reporting",
    "datasets",
    "recognizers",
    "faces",
    "portraits",
    "assets",
    "models",
    "hints",
    "recipes",
    "losses",
    "images",
    "formats",
    "metadata",
    "files",
    "paths",
    "compute",
    "interrupts",
    "errors",
    "lazy",
)

# `import torchvision` alone costs seconds; the others bring it, or something as slow, along.
SLOW = {"torchvision", "lpips", "mediapipe", "timm", "torchmetrics", "torch_fidelity", "skimage", "av", "dlib"}
SLOW |= {"flip_evaluator"}
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
    assert {module_name(path) for path in FILES.values()} == set(ORDER), "each module has a place in the layers"
    below = {name: set(ORDER[position + 1 :]) for position, name in enumerate(ORDER)}
    wrong = {name: our_imports(path) - below[module_name(path)] for name, path in FILES.items()}
    assert {name: imports for name, imports in wrong.items() if imports} == {}


def module_graph() -> dict[str, set[str]]:
    """Per module of the library those that it imports when it runs, in functions too."""
    modules = {".".join([LIBRARY.name, *Path(name).with_suffix("").parts]): path for name, path in FILES.items()}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {}
    for name, path in modules.items():
        package = [LIBRARY.name, *path.relative_to(LIBRARY).parent.parts]
        dotted = {found for node in run_nodes(ast.parse(path.read_text())) for found in dotted_imports(node, package)}
        nearest = {each if each in modules else each.rpartition(".")[0] for each in dotted}
        graph[name] = (nearest & modules.keys()) - {name, LIBRARY.name}
    return graph


def run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from run_nodes(node)


def test_no_two_modules_need_each_other():
    TopologicalSorter(module_graph()).prepare()  # CycleError names a circle


def test_slow_packages_are_imported_where_they_are_used():
    found = {name: slow_imports(path.read_text()) - UNAVOIDABLE.get(name, set()) for name, path in FILES.items()}
    assert {name: packages for name, packages in found.items() if packages} == {}


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
