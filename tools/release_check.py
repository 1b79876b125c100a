"""Build the wheel and the sdist, install the wheel into an empty environment, and run the demo from it.

`make release-check`. Prints one line per step; exits with 1 at the first that fails.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED_IN_WHEEL = ("danlu/py.typed", "danlu/report/page.css", "danlu/translations/zh/doctor.toml")
NEEDED_IN_SDIST = ("pyproject.toml", "README.md", "LICENSE", "src/danlu/cli.py")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Standard output of a command; its whole output and exit 1 where it fails."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return done.stdout


def missing(names: set[str], needed: tuple[str, ...]) -> list[str]:
    """Files of `needed` that no name ends with."""
    return [file for file in needed if not any(name.endswith(file) for name in names)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(sys.executable, "-m", "build", "--outdir", place / "dist", ROOT)
        (wheel,), (sdist,) = place.glob("dist/*.whl"), place.glob("dist/*.tar.gz")
        with zipfile.ZipFile(wheel) as archive:
            lacking = missing(set(archive.namelist()), NEEDED_IN_WHEEL)
        with tarfile.open(sdist) as archive:
            lacking += missing(set(archive.getnames()), NEEDED_IN_SDIST)
        if lacking:
            sys.exit(f"failed: not packaged: {', '.join(lacking)}")
        print(f"built {wheel.name} and {sdist.name}")
        venv.create(place / "venv", with_pip=True)
        python = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
        print("installed into an empty environment")
        shown = run(python, "-m", "danlu", "train", "digits", "--epochs", "3", cwd=place)
        report = next(place.glob("runs/*/report.html"), None)
        if report is None or "test" not in shown:
            sys.exit(f"failed: the demo left no report\n{shown}")
        print(f"the demo ran from the wheel: {shown.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
