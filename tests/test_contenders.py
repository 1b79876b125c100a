"""danlu's contender of the speed benchmark follows the protocol of the benchmark."""

from pathlib import Path

import numpy as np
import pytest

CONTENDERS = Path(__file__).resolve().parents[1] / "benchmarks" / "contenders"


@pytest.mark.parametrize("doctor", [0.0, 0.03])
def test_danlu_contender_measures_rounds(doctor, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(CONTENDERS))
    import with_danlu

    monkeypatch.setattr(with_danlu, "WARM", 0.01)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "set.npz", x=rng.integers(0, 256, (180, 16, 16), np.uint8), y=np.arange(180) % 10)
    job = {"model": "lenet", "pad": 2, "flip": False, "batches": 4, "batch": 32, "warm": 1, "doctor": doctor}
    answers = with_danlu.danlu_train(job | {"data": str(tmp_path / "set.npz"), "folder": str(tmp_path)})
    assert next(answers)["settings"].split(",")[0] in ("fp32", "bf16")
    for _ in range(2):
        figures = next(answers)
        assert figures["images_per_second"] > 0
        assert 0 < figures["whole epoch"] < np.inf
    answers.close()
