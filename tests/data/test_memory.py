"""Requests for more memory or disk than there is are refused before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.data import memory
from danlu.data.memory import check_disk, check_memory, free_memory
from danlu.refuse import Refusal


def test_free_memory_is_that_of_the_kernel() -> None:
    free = free_memory()
    fields = {line.split(":")[0]: line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()}
    total = (int(fields["MemTotal"]) + int(fields["SwapTotal"])) * 1024
    assert free is not None
    assert 0 < free <= total


def test_a_container_has_its_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text("1000\n")
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (str(tmp_path / "max"), str(tmp_path / "limit"), "/nowhere"))
    assert free_memory() == 1000


def test_what_fits_is_granted_and_the_rest_names_its_setting() -> None:
    check_memory(1 << 40, "--size", 9, "5 images", free=1 << 40)
    check_memory(1 << 20, "--size", 9, "5 images", free=0)  # too small to look
    sentence = "--size must fit in 2,048 MiB of free memory, got 9: 5 images take 1,024 GiB"
    with pytest.raises(Refusal) as refused:
        check_memory(1 << 40, "--size", 9, "5 images", free=2 << 30)
    assert str(refused.value) == sentence
    assert refused.value.thing == "--size"


def test_a_disk_is_asked_before_it_is_filled(tmp_path: Path) -> None:
    check_disk(1 << 20, tmp_path / "a" / "b", "--size", 9, "5 images")
    with pytest.raises(Refusal, match=r"--size must fit in .* of free disk, got 9: 5 images take"):
        check_disk(1 << 60, tmp_path / "a" / "b", "--size", 9, "5 images")
    assert not list(tmp_path.iterdir())
