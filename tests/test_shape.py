"""The shape of the product, read from its own source: ranks, homes of libraries, sizes, and what is not allowed."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ROOT / "gateway"

# A package imports only packages of lower rank; equal ranks are strangers. `cli/process.py` builds the
# application, so cli stands above app; `__main__` starts cli.
RANKS = {
    "__init__": 0,
    "core": 0,
    "wire": 1,
    "policy": 1,
    "pricing": 1,
    "db": 2,
    "metrics": 2,
    "upstream": 2,
    "offline": 2,
    "identity": 3,
    "files": 3,
    "ledger": 3,
    "knowledge": 3,
    "tuning": 3,
    "batches": 3,
    "paths": 4,
    "simulate": 4,
    "pipeline": 5,
    "explained": 5,
    "shadow": 5,
    "relay": 5,
    "http": 6,
    "live": 6,
    "live_knowledge": 6,
    "gauges": 6,
    "fit": 6,
    "kept": 6,
    "known": 6,
    "tuned": 5,
    "adapter_servers": 5,
    "registry": 5,
    "canaries": 5,
    "stale": 5,
    "beside": 5,
    "charges": 5,
    "training": 5,
    "judging": 5,
    "answered": 5,
    "own_calls": 5,
    "capturing": 5,
    "importing": 5,
    "rebuilding": 5,
    "retraining": 5,
    "evaluating": 5,
    "batch_ways": 5,
    "app": 7,
    "cli": 8,
    "__main__": 9,
}
# Files of one rank that still form a line: the pipeline asks why, hands its reply to the relay, and has it copied
# and judged; calls of the gateway's own work go through the pipeline too.
ABOVE_ITS_EQUAL = {
    ("pipeline", "relay"),
    ("pipeline", "explained"),
    ("pipeline", "shadow"),
    ("pipeline", "judging"),
    ("pipeline", "capturing"),
    ("capturing", "relay"),
    ("evaluating", "registry"),
    ("retraining", "evaluating"),
    ("retraining", "rebuilding"),
    ("retraining", "registry"),
    ("retraining", "training"),
    ("shadow", "relay"),
    ("judging", "relay"),
    ("own_calls", "pipeline"),
    ("own_calls", "judging"),
    ("live_knowledge", "live"),
    ("gauges", "live"),
    ("tuned", "training"),
    ("tuned", "registry"),
    ("tuned", "evaluating"),
    ("tuned", "adapter_servers"),
    ("adapter_servers", "training"),
    ("tuned", "canaries"),
    ("tuned", "stale"),
    ("canaries", "registry"),
    ("stale", "training"),
}

# Where a library may be imported: by what it would be replaced there and nowhere else.
HOMES = {
    "litestar": ("http/", "app.py"),
    "httptools": ("upstream/",),
    "httpx2": ("upstream/", "knowledge/remote/"),
    "openai": (),
    "sqlmodel": ("db/", "tables.py", "store.py"),
    "sqlalchemy": ("db/", "tables.py", "store.py"),
    "sqlalchemy.exc": (
        "db/",
        "tables.py",
        "store.py",
        "app.py",
        "beside.py",
        "kept.py",
        "known.py",
        "ledger/shipper.py",
    ),
    "prometheus_client": ("metrics/", "app.py", "http/health.py", "cli/process.py"),
    "yaml": ("core/document.py", "cli/knowledge_edit.py", "cli/policy_fit.py"),
    "uvicorn": ("cli/", "offline/", "tuning/worker/"),
    "torch": ("tuning/worker/",),
    "transformers": ("tuning/worker/",),
    "peft": ("tuning/worker/",),
    "safetensors": ("tuning/worker/",),
    "jinja2": ("tuning/worker/",),
}

NO_HOME = frozenset({"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"})
MOST_LINES = 400
MOST_FUNCTION_LINES = 50
MOST_NAMES = 12
# Each with its reason.
MORE_NAMES = {
    "core/errors.py": "one class per reason: the file is the closed list of what a caller can be told",
}
LONGER_FUNCTIONS: dict[str, str] = {
    "cli/policy_explain.py:explain": "its parameters are the command's options, a line each",
    "metrics/instruments.py:Instruments.__init__": "one instrument after the other, nothing else",
}
BROAD = {
    "app.py": "a reload that fails unforeseen is a rejected one",
    "beside.py": "a watcher that fails is logged and begun again",
    "http/proxy.py": "the last line of defence: no traceback reaches a caller",
    "pipeline.py": "a cancelled or faulty call closes its books, then goes on raising",
    "ledger/entry.py": "an intent that could not be made durable is void, then it goes on raising",
    "ledger/shipper.py": "files of a dead process are kept for another try, then it goes on raising",
    "upstream/transport.py": "a cancelled connect closes its socket, then goes on raising",
    "upstream/httpx_transport.py": "a cancelled wait ends its task, then goes on raising",
    "upstream/reply.py": "a cancelled reader closes its connection, then goes on raising",
    "knowledge/embedders/onnx_directory.py": "the model's and the tokenizer's library raise bare Exceptions",
    "knowledge/polling.py": "a source that fails unforeseen is asked again at its next turn, and others go on",
    "knowledge/unpack.py": "whatever a hostile file makes a parser raise is an answer about that file",
    "tuning/jobs/engine.py": "a step that fails unforeseen is tried again later, and given up like any other",
    "knowledge/stores/sqlite.py": "a transaction that fails is rolled back, then goes on raising",
}
# Who may see rows beside a package's own store.
SEES_ROWS = {
    "migrations/env.py": "Alembic compares the tables with the database",
    "bench/switchyard.py": "ten thousand keys are written in one statement",
}


def product_files() -> list[Path]:
    return sorted(PRODUCT.rglob("*.py"))


def short(path: Path) -> str:
    return path.relative_to(PRODUCT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def module_name(path: Path) -> str:
    return ".".join(("gateway", *path.relative_to(PRODUCT).with_suffix("").parts)).removesuffix(".__init__")


@cache
def modules() -> frozenset[str]:
    return frozenset(map(module_name, product_files()))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, by its full name, and the line; `from p import m` names p.m if that is one."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{short(path)}:{node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in modules() else node.module), node.lineno


def unit_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_unit_has_a_rank() -> None:
    """A new package states its place before it is imported."""
    units = {unit_of(module) for module in modules()}
    assert units <= RANKS.keys()


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_a_package_imports_only_lower_ranks(path: Path) -> None:
    unit = unit_of(module_name(path))
    faults = []
    for name, line in imports(path):
        other = unit_of(name)
        if name.split(".")[0] != "gateway" or other == unit or (unit, other) in ABOVE_ITS_EQUAL:
            continue
        if RANKS[other] >= RANKS[unit] and other != "__init__":
            faults.append(f"{short(path)}:{line}: {unit} ({RANKS[unit]}) imports {other} ({RANKS[other]})")
    assert not faults


def test_no_import_cycle_between_modules() -> None:
    """Within a package ranks say nothing; a ring of its files would be one file in pieces."""
    graph = {
        module_name(path): {name for name, _ in imports(path) if name in modules()} - {module_name(path)}
        for path in product_files()
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module in done:
            return
        for other in sorted(graph[module]):
            visit(other, (*above, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_each_library_stays_in_its_home(path: Path) -> None:
    faults = []
    for name, line in imports(path):
        library = next((key for key in (name, name.split(".")[0]) if key in HOMES), None)
        if library is None:
            continue
        place = short(path)
        at_home = any(
            place.startswith(home) if home.endswith("/") else place == home or path.name == home
            for home in HOMES[library]
        )
        if not at_home:
            faults.append(f"{place}:{line}: {name} lives in {', '.join(HOMES[library]) or 'tests and bench'}")
    assert not faults


def test_rows_never_leave_their_package() -> None:
    """A `tables.py` is imported by the `store.py` of its folder and of those below, and by the migrations."""
    faults = []
    for path in product_files():
        for name, line in imports(path):
            if not name.startswith("gateway.") or not name.endswith(".tables"):
                continue
            own_store = path.name == "store.py" and module_name(path).startswith(name.removesuffix("tables"))
            if not own_store:
                faults.append(f"{short(path)}:{line} imports {name}")
    assert not faults
    outside = [path for folder in ("migrations", "bench") for path in (ROOT / folder).rglob("*.py")]
    importing = {path.relative_to(ROOT).as_posix() for path in outside if re.search(r"\.tables\b", path.read_text())}
    assert importing <= SEES_ROWS.keys()


def test_no_module_is_named_after_nothing() -> None:
    """A function without a noun has no home."""
    everywhere = [*product_files(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    named = {path for path in everywhere if NO_HOME & {part.removesuffix(".py").lower() for part in path.parts}}
    assert not named


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= MOST_LINES
    assert not list(_long_functions(path))


def test_exceptions_of_length_are_still_needed() -> None:
    long = {place for path in product_files() for place, lines in _all_functions(path) if lines > MOST_FUNCTION_LINES}
    assert set(LONGER_FUNCTIONS) <= long, "an exception that is no longer one"


def _long_functions(path: Path) -> Iterator[str]:
    for place, lines in _all_functions(path):
        if lines > MOST_FUNCTION_LINES and place not in LONGER_FUNCTIONS:
            yield f"{place} has {lines} lines"


def _all_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Functions with their lines of code; docstrings, comments and blank lines are no burden to count."""
    code = _code_lines(path)

    def inside(node: ast.AST, name: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                here = f"{name}.{child.name}" if name else child.name
                if not isinstance(child, ast.ClassDef):
                    end = child.end_lineno or child.lineno
                    yield f"{short(path)}:{here}", len([n for n in range(child.lineno, end + 1) if n in code])
                yield from inside(child, here)
            else:
                yield from inside(child, name)

    yield from inside(tree(path), "")


@cache
def _code_lines(path: Path) -> frozenset[int]:
    plain = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        if token.type not in plain:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return frozenset(lines)


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_a_module_has_few_public_names(path: Path) -> None:
    """Names of functions and classes: what a reader must know to use the module."""
    names = [
        node.name
        for node in tree(path).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    assert len(names) <= MOST_NAMES or short(path) in MORE_NAMES, names


def test_no_global_statement() -> None:
    found = [
        f"{short(path)}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Global)
    ]
    assert not found


def test_imports_stand_at_the_top() -> None:
    """But in cli/ and trainers/, where heavy ones wait until their command runs."""
    found = []
    for path in product_files():
        if short(path).startswith(("cli/", "tuning/trainers/")) or short(path) == "__main__.py":
            continue
        top = set(map(id, tree(path).body))
        found += [
            f"{short(path)}:{node.lineno}"
            for node in ast.walk(tree(path))
            if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in top
        ]
    assert not found


def test_a_broad_except_has_its_reason() -> None:
    """`except Exception`, `except BaseException` and a bare `except`: only where the table above says why."""
    found: dict[str, list[int]] = {}
    for path in product_files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type):
                found.setdefault(short(path), []).append(node.lineno)
    unexplained = {place: lines for place, lines in found.items() if place not in BROAD}
    assert not unexplained
    assert set(BROAD) <= set(found), "a reason without its except"


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    if isinstance(caught, ast.Tuple):
        return any(map(_is_broad, caught.elts))
    return isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"}


def test_tests_patch_nothing() -> None:
    """Fakes at the boundary, not patches inside: a patched test holds on to how, not to what."""
    pattern = re.compile(r"\bmock\.|\bunittest\.mock\b|\bMagicMock\b|\bmonkeypatch\.setattr\b|\bmocker\b")
    own = Path(__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path != own
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_each_condition_has_its_own_test() -> None:
    """One noun, five places: the file under conditions/ is the key in the YAML and the name of a test."""
    conditions = {path.stem for path in (PRODUCT / "policy" / "conditions").glob("*.py")} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/unit/policy/conditions").glob("test_*.py")}
    assert conditions == tests
    table = ROOT / "policies" / "README.md"
    if table.exists():
        told = table.read_text("utf-8")
        assert not {key for key in conditions if f"`{key}`" not in told}
