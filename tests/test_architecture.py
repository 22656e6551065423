"""Rules of the house (design §3, reliability notes §4), read from the sources."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src/faultbench"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Layers, lowest first: a module imports itself and what lies lower. A package that is not named
# lies right below the command line: only cli may import it.
UNNAMED = 8
LAYERS = {
    "model": 1, "recordline": 0, "enums": 0, "errors": 0, "sysfs": 0, "histogram": 0, "output": 1,
    "rules": 2, "costs": 4, "topology": 2, "records": 2, "host": 3,
    "machines": 3, "child": 4, "executor": 4, "disturbance": 4,
    "table": 3, "wis": 4, "importing": 5, "timeline": 5, "functions": 0, "windows": 2, "typed": 0,
    "values": 3, "config": 4, "plan": 5, "runner": 5,
    "analysis": 5, "audit": 5, "plots": 6, "report": 7, "lab": 7, "cli": 9,
    "calibrate": 5, "machine_file": 6,
    "explain": 6,
    "validation": 8,
}  # fmt: skip


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PACKAGES = {layer_of(name_of(path)) for path in MODULES} - {"", "__main__"}


def imports(path: Path):
    """Yield (module, line) of every import, also inside functions; not those for types only."""
    tree = ast.parse(path.read_text())
    types_only = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if id(node) in types_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def ours(path: Path):
    return [(m, line) for m, line in imports(path) if m.split(".")[0] == "faultbench"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = layer_of(name_of(path))
    if own in ("", "__main__"):
        return
    for module, line in ours(path):
        other = layer_of(module)
        if other in PACKAGES and other != own:
            lower = LAYERS.get(other, UNNAMED) < LAYERS.get(own, UNNAMED)
            assert lower, f"{path.name}:{line}: {own} imports {other}"


@pytest.mark.parametrize(
    ("library", "home"),
    [("typer", "cli"), ("rich", "cli"), ("matplotlib", "plots")],
)
def test_libraries_stay_at_home(library, home):
    for path in MODULES:
        for module, line in imports(path):
            if module.split(".")[0] == library:
                assert layer_of(name_of(path)) == home, f"{path.name}:{line} imports {library}"


def test_the_child_and_the_model_load_nothing_heavy():
    """Trials run in a process that has imported the extension and little else."""
    import subprocess
    import sys

    heavy = "pandas numpy scipy matplotlib rich typer".split()
    script = (
        "import sys, faultbench.child, faultbench.machines.threads\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


BANNED_MODULES = {"pickle", "marshal", "shelve", "yaml", "dill", "cloudpickle", "joblib"}
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_from_anywhere_are_only_parsed(path):
    for module, line in imports(path):
        assert module.split(".")[0] not in BANNED_MODULES, f"{path.name}:{line}: {module}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in BANNED_CALLS, f"{path.name}:{node.lineno}: {name}()"
            assert name not in ("os.system", "os.popen"), f"{path.name}:{node.lineno}: {name}()"
            for keyword in node.keywords:
                allowed = keyword.arg not in ("shell", "allow_pickle")
                assert allowed or ast.unparse(keyword.value) == "False", (
                    f"{path.name}:{node.lineno}"
                )


def test_a_module_has_one_idea():
    long = {
        str(path.relative_to(ROOT)): n
        for path in MODULES
        if (n := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_no_word_that_means_something_else():
    """Design §5: a way of a fault is a path, a measured run is a trial."""
    for path in MODULES:
        text = path.read_text()
        assert not re.search(r"\b(old|new) mode\b", text, re.IGNORECASE), path
