"""The doctor as a distribution of its own: its wheel works with PyTorch and NumPy alone, and beside danlu."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "packages" / "danlu-doctor"
HEAVY = ("timm", "pandas", "plotly", "pydantic", "torchvision", "sklearn", "PIL", "lightning_fabric", "rich", "yaml")

# Train with the gradients never set to zero, in an interpreter that sees the folders given and nothing else.
SCRIPT = """
import json, sys
sys.path.extend(sys.argv[1:3])
import torch
from torch import nn
import danlu_doctor

torch.manual_seed(0)
x = torch.randn(512, 16)
y = (x @ torch.randn(16, 4)).argmax(1)
model, loss_fn = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)), nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
with danlu_doctor.watch(model, optimizer, loss_fn, budget=float("inf")) as doctor:
    for epoch in range(3):
        for rows in torch.randperm(512).split(32):
            loss_fn(model(x[rows]), y[rows]).backward()
            optimizer.step()
        doctor.epoch()
doctor.report("doctor.html")
curved = danlu_doctor.curvature(model, loss_fn, [(x[:64], y[:64])])
print(json.dumps({
    "codes": [finding.code for finding in doctor.findings],
    "modules": sorted(sys.modules),
    "version": danlu_doctor.__version__,
    "file": danlu_doctor.__file__,
    "names": [name for name in dir(danlu_doctor) if not name.startswith("_")],
    "sharpness": curved.sharpness,
}))
"""


def link_distributions(names: list[str], folder: Path) -> None:
    """Make a folder with these installed distributions and all they require, as links, and nothing else."""
    folder.mkdir()
    waiting, seen = list(names), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # required on other platforms only
        waiting += [re.split(r"[^\w.-]", need)[0] for need in found.requires or [] if "extra ==" not in need]
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            target = folder / top
            if not target.exists():
                target.symlink_to(found.locate_file(top))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of danlu-doctor was built and installed."""
    folder = tmp_path_factory.mktemp("distribution")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder / "wheels"), str(PACKAGE)], check=True
    )
    (wheel,) = (folder / "wheels").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


@pytest.mark.slow
def test_wheel_needs_torch_and_numpy_only(installed: Path, tmp_path: Path) -> None:
    link_distributions(["torch", "numpy"], tmp_path / "libraries")
    command = [sys.executable, "-I", "-S", "-c", SCRIPT, str(tmp_path / "libraries"), str(installed)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    out = json.loads(said.splitlines()[-1])  # after the findings that are printed as they arise
    assert out["file"].startswith(str(installed))
    assert "loop.missing_zero_grad" in out["codes"]
    assert out["sharpness"] > 0
    assert out["names"] == [
        "Doctor", "Finding", "LightningDoctor", "Refusal", "TransformersDoctor", "curvature", "watch"
    ]  # fmt: skip
    assert "optimizer.zero_grad()" in (tmp_path / "doctor.html").read_text(encoding="utf-8")
    assert not {"danlu", *HEAVY} & {name.partition(".")[0] for name in out["modules"]}
    assert f'__version__ = "{out["version"]}"' in (ROOT / "src" / "danlu" / "__init__.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_wheel_shares_no_file_with_danlu(installed: Path) -> None:
    tops = {path.name for path in installed.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"danlu_doctor"}
    left = [
        path
        for path in installed.rglob("*.py")
        if re.search(r"^\s*(from|import) danlu[.\s]", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not left


def test_doctor_imports_no_heavy_library() -> None:
    code = "import sys; import danlu.doctor.watch; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = {name.partition(".")[0] for name in out.split()}
    assert "torch" in loaded
    assert not set(HEAVY) & loaded
