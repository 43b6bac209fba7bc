"""The README says what is: its commands parse, its Python runs, its paths exist, and .ci/run runs its words."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dimrt import errors
from dimrt.cli.main import COMMANDS, EPILOG, group

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(tag: str) -> str:
    """The fenced block of the README whose opening line is three backticks and `tag`."""
    (found,) = re.findall(rf"^```{re.escape(tag)}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def dimrt_commands() -> list[list[str]]:
    """Every command line of dimrt that the README shows, in words."""
    inline = re.findall(r"`(dimrt [^`\n]+)`", README)
    in_block = [part.strip() for part in block("sh main-job").split("&&") if part.strip().startswith("dimrt ")]
    return [shlex.split(line)[1:] for line in [*inline, *in_block]]


@pytest.mark.parametrize("words", dimrt_commands(), ids=" ".join)
def test_commands_of_the_readme_parse(words: list[str]) -> None:
    name, *rest = words
    assert name in COMMANDS
    command = group.get_command(click.Context(group), name)
    assert command is not None
    if rest in ([], ["--help"]):
        return
    context = command.make_context(name, rest)
    assert context.params


def test_every_command_is_in_the_readme() -> None:
    shown = {words[0] for words in dimrt_commands()}
    assert shown == set(COMMANDS)


def test_help_lines_are_the_commands_own() -> None:
    for name, line in COMMANDS.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None and command.help is not None
        assert command.help.startswith(line.rstrip(".")), name


def test_exit_codes_are_the_classes_own() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DimrtError)]
    codes = {kind.exit_code for kind in classes}
    assert codes == {1, 2, 3, 130}
    for code in {0, *codes}:
        assert re.search(rf"^\| {code} \| ", README, flags=re.MULTILINE), f"README lacks exit code {code}"
        assert re.search(rf"^  {code}\s", EPILOG, flags=re.MULTILINE), f"--help lacks exit code {code}"


def test_python_of_the_readme_runs(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    environment = {name: value for name, value in os.environ.items() if name != "DIMRT_BUNDLE"}
    environment["XDG_CONFIG_HOME"] = str(tmp_path)
    code = [sys.executable, "-c", block("python")]
    done = subprocess.run(code, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Edit Instruction" in done.stdout
    assert "(300, 451, 3)" in done.stdout


def test_paths_of_the_readme_exist() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    named = re.findall(r"`((?:benchmarks|tests|dimrt|export)/[^`*…<> ]*)`", README)
    in_block = re.findall(r"benchmarks/\S+\.jpg", block("sh main-job"))
    assert in_block
    missing = [path for path in {*links, *named, *in_block} if not (ROOT / path).exists()]
    assert missing == []


def test_paths_of_the_contributors_map_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folder = ROOT
    for line in text.split("```")[1].splitlines():
        names = re.match(r"^( *)((?:[\w/.]+ )+)", line)
        if names is None:
            continue
        base = ROOT if not names[1] else folder
        for name in names[2].split():
            if not name.endswith(("/", ".py")):
                break
            assert (base / name).exists(), f"{base.name}/{name}"
        if not names[1]:
            folder = ROOT / names[2].split()[0]


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash and awk")
@pytest.mark.parametrize("tag", ["main-job", "tests"])
def test_ci_runs_the_words_of_the_readme(tag: str) -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f'bash -euo pipefail -c "$(block {tag})"' in script
    assert "pip install" not in script
    (function,) = re.findall(r"^block\(\).*$", script, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", f"{function}\nblock {tag}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == block(f"sh {tag}")
