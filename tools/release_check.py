"""Build the wheels and the sdist, install them into an empty environment, and run the demo from it.

The wheel of danlu-doctor is installed first and must find a fault with PyTorch and NumPy alone. `make release-check`.
Prints one line per step; exits with 1 at the first that fails.
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
PACKAGE = ROOT / "src" / "danlu"
DOCTOR = ROOT / "packages" / "danlu-doctor"
# A training whose gradients are never set to zero.
FAULTY_TRAINING = """
import danlu_doctor, torch

model, loss_fn = torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with danlu_doctor.watch(model, optimizer, loss_fn) as doctor:
    for _ in range(40):
        x = torch.randn(32, 4)
        loss_fn(model(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()
print(*(finding.code for finding in doctor.findings))
"""
NEEDED_IN_SDIST = ("pyproject.toml", "README.md", "LICENSE")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Standard output of a command; its whole output and exit 1 where it fails."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return done.stdout


def package_files() -> set[str]:
    """Files of the package, relative to src/: modules, translations, styles, pages and py.typed."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(PACKAGE.parent).as_posix() for path in files}


def faults_of_wheel(wheel: Path) -> list[str]:
    """Files of the package that a wheel lacks, and files that do not belong into it."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    foreign = {name for name in names - package_files() if ".dist-info/" not in name}
    return [f"{wheel.name} lacks {name}" for name in sorted(package_files() - names)] + [
        f"{wheel.name} holds {name}" for name in sorted(foreign)
    ]


def faults_of_sdist(sdist: Path) -> list[str]:
    """Files that an sdist lacks to build the wheel, and test files, which do not run without the repository."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {*NEEDED_IN_SDIST, *(f"src/{name}" for name in package_files())}
    return [f"{sdist.name} lacks {name}" for name in sorted(needed - names)] + [
        f"{sdist.name} holds {name}" for name in sorted(names) if name.startswith("tests/")
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(sys.executable, "-m", "build", "--outdir", place / "dist", ROOT)
        (wheel,), (sdist,) = place.glob("dist/*.whl"), place.glob("dist/*.tar.gz")
        if faults := faults_of_wheel(wheel) + faults_of_sdist(sdist):
            sys.exit("failed: " + "; ".join(faults))
        run(sys.executable, "-m", "build", "--wheel", "--outdir", place / "doctor", DOCTOR)
        (doctor,) = place.glob("doctor/*.whl")
        print(f"built {wheel.name}, {sdist.name} and {doctor.name}")
        venv.create(place / "venv", with_pip=True)
        python = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        install = (python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt")
        run(*install, doctor)
        found = run(python, "-c", FAULTY_TRAINING, cwd=place).split()
        if "loop.missing_zero_grad" not in found:
            sys.exit(f"failed: the doctor alone found {found} in a training without zero_grad")
        print("the doctor alone finds the fault of a training without zero_grad")
        run(*install, wheel)
        print("installed into an empty environment")
        shown = run(python, "-m", "danlu", "train", "digits", "--epochs", "3", cwd=place)
        report = next(place.glob("runs/*/report.html"), None)
        if report is None or "test" not in shown:
            sys.exit(f"failed: the demo left no report\n{shown}")
        print(f"the demo ran from the wheel: {shown.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
