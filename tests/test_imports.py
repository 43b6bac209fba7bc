"""Who may import whom, read from the source; and what really gets imported, read from fresh interpreters."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parent.parent
ROOMS = {"dimrt": ROOT / "dimrt", "dimrt.export": ROOT / "export", "dimrt.engines": ROOT / "engines"}
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
TORCH_SIDE = {"torch", "transformers", "diffusers", "accelerate", "onnx", "onnxscript"}
GPU_SIDE = {"cuda", "tensorrt", "tensorrt_rtx"}
KRITA_SIDE = {"krita", "PyQt5", "dimrt_krita"}
"""What there is inside Krita, and only there."""
MODULE_OF = {
    "pillow": "PIL",
    "huggingface_hub": "huggingface_hub",
    "cuda-bindings": "cuda",
    "PySide6-Essentials": "PySide6",
}
"""Import names of distributions that are called otherwise."""


def sources(room: str) -> list[Path]:
    """Every module of a room."""
    return sorted(ROOMS[room].rglob("*.py"))


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """Absolute names of imported modules; with `lazy` false, only those imported when the module is."""

    def skipped(node: ast.AST) -> bool:
        if isinstance(node, ast.If):
            return "TYPE_CHECKING" in ast.unparse(node.test)
        return isinstance(node, ast.FunctionDef) and not lazy

    def visit(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                yield from (f"{child.module}.{alias.name}" for alias in child.names)
            elif not skipped(child):
                yield from visit(child)

    return visit(ast.parse(path.read_text(encoding="utf-8")))


def touches(path: Path, package: str, *, lazy: bool = True) -> bool:
    """Whether a module imports `package` or something in it."""
    return any(name == package or name.startswith(f"{package}.") for name in imports(path, lazy=lazy))


def requirements(*extras: str) -> set[str]:
    """Import names of the declared dependencies of the core and of some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    names = {re.split(r"[<>=\[; ]", line, maxsplit=1)[0] for line in lines}
    return {MODULE_OF.get(name, name.replace("-", "_")) for name in names}


def third_party(path: Path) -> set[str]:
    """Top-level packages a module imports that are neither the standard library's nor the project's."""
    tops = {name.split(".")[0] for name in imports(path)}
    own = {"dimrt", "benchmarks", "peers"} | {module.stem for module in (*TESTS, *BENCHMARKS)}
    return tops - set(sys.stdlib_module_names) - own


@pytest.mark.parametrize("path", sources("dimrt"), ids=lambda path: str(path.relative_to(ROOT)))
def test_core_imports_neither_export_nor_engines(path: Path) -> None:
    in_command, in_backend = path.parent.name == "cli", path.parent.name == "backends"
    assert not touches(path, "dimrt.export", lazy=not in_command)
    assert not touches(path, "dimrt.engines", lazy=not (in_command or in_backend))


@pytest.mark.parametrize("room", ROOMS)
def test_nobody_imports_the_command_line(room: str) -> None:
    outside = [path for path in sources(room) if path.parent.name != "cli"]
    assert [path for path in outside if touches(path, "dimrt.cli")] == []


def test_engines_do_not_import_export() -> None:
    assert [path for path in sources("dimrt.engines") if touches(path, "dimrt.export")] == []


def test_imported_packages_are_declared() -> None:
    core, export = requirements(), requirements("export", "parquet")
    everything = requirements("export", "parquet", "dev", "pycuda")
    optional = {"backends": GPU_SIDE, "photo": requirements("photo"), "batch": requirements("ray")}
    optional |= {"serve": requirements("serve"), "examples": requirements("dev")}
    optional |= {"dimrt_krita": KRITA_SIDE}
    for path in sources("dimrt"):
        assert third_party(path) <= core | optional.get(path.parent.name, set()), path
    for path in sources("dimrt.engines"):
        assert third_party(path) <= core | GPU_SIDE, path
    assert requirements("rtx", "tensorrt") >= GPU_SIDE
    for path in sources("dimrt.export"):
        assert third_party(path) <= export, path
    for path in TESTS:
        inside_krita = KRITA_SIDE if path.parent.name == "dimrt_drive" else set()
        assert third_party(path) <= everything | inside_krita, path


@pytest.mark.parametrize("room", ROOMS)
def test_library_code_neither_prints_nor_swallows_errors(room: str) -> None:
    for path in sources(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                assert path.name == "__main__.py", f"{where}: print in library code"
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{where}: bare except"


def modules_after(code: str) -> set[str]:
    """Names in `sys.modules` of a fresh interpreter after running `code`."""
    probe = f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT / "tests")
    return set(done.stderr.split())


def test_the_runtime_never_imports_torch() -> None:
    code = "import dimrt; from dimrt.editor import Editor; from dimrt.backends import onnxruntime; Editor"
    assert modules_after(code) & {*TORCH_SIDE, *GPU_SIDE, "rich", "click", "dimrt.export"} == set()


@pytest.mark.parametrize("args", [["--version"], ["--help"]])
def test_version_and_help_import_nothing_heavy(args: list[str]) -> None:
    code = f"from dimrt.cli.main import run; run({args})"
    heavy = {
        *TORCH_SIDE,
        *GPU_SIDE,
        "numpy",
        "PIL",
        "onnxruntime",
        "tokenizers",
        "msgspec",
        "rich",
        "dimrt.editor",
        "dimrt.photo",
    }
    assert modules_after(code) & heavy == set()
