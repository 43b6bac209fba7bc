"""Install a peer into an environment of its own, at the versions in `requirements/NAME.txt`.

    python benchmarks/peers/install.py openvino                       # into build/peers/openvino
    python benchmarks/peers/install.py llama_cpp --from-source        # compiled for this processor
    python benchmarks/peers/install.py --all --folder /somewhere

Nothing is installed into the environment that runs this.
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
PEERS = tuple(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))
FOLDER = Path(__file__).parents[2] / "build" / "peers"
COMPILED = {"llama_cpp": "xllamacpp"}
"""The package that `--from-source` compiles."""
UNWANTED = {"openvino": "torchvision"}
"""What a dependency brings that doesn't load beside a CPU build of torch."""


def interpreter(folder: Path, peer: str) -> Path:
    """The Python of a peer's environment, installed or not."""
    place = folder / peer
    return place / "Scripts" / "python.exe" if sys.platform == "win32" else place / "bin" / "python"


def commands(peer: str, python: Path, from_source: bool) -> list[list[str]]:
    """What is run once the environment is there, in order."""
    pip = [str(python), "-m", "pip"]
    install = [*pip, "install", "-r", str(REQUIREMENTS / f"{peer}.txt")]
    if from_source:
        install += ["--no-binary", COMPILED[peer]]
    steps = [install]
    if peer in UNWANTED:
        steps.append([*pip, "uninstall", "--yes", UNWANTED[peer]])
    return steps


def install(peer: str, folder: Path, from_source: bool = False) -> int:
    """Make the environment and install into it; the exit code of the first command that failed, or 0."""
    python = interpreter(folder, peer)
    if not python.is_file():
        venv.create(folder / peer, with_pip=True)
    for command in commands(peer, python, from_source):
        code = subprocess.run(command, check=False).returncode
        if code:
            print(f"{peer}: failed with exit code {code}: {' '.join(command)}", file=sys.stderr)
            return code
    return 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", choices=[*PEERS, []], metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--all", action="store_true", help="every peer")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the environments go (build/peers)")
    parser.add_argument("--from-source", action="store_true", help="compile it here (llama_cpp)")
    args = parser.parse_args()
    wanted = PEERS if args.all else args.peers
    if not wanted:
        parser.error(f"name a peer ({', '.join(PEERS)}) or give --all")
    if args.from_source and not set(wanted) <= set(COMPILED):
        parser.error(f"--from-source is for {', '.join(COMPILED)}")
    args.folder.mkdir(parents=True, exist_ok=True)
    raise SystemExit(max(install(peer, args.folder, args.from_source) for peer in wanted))


if __name__ == "__main__":
    main()
