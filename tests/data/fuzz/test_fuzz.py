"""Random data sets in every format, renamed, nested and damaged: read as they are, or refused, never misread."""

import pytest
from image_formats import IMAGE_FORMATS
from object_formats import OBJECT_FORMATS
from trials import run_trial

FORMATS = [*OBJECT_FORMATS, *IMAGE_FORMATS]
MIN_READ = 0.7  # fraction of trials that are read: the others are damaged beyond repair, or ambiguous


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_read_or_refused(form, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcomes = [run_trial(seed, form) for seed in range(6)]
    assert not [str(one) for one in outcomes if one.wrong]
    assert any(not one.refused for one in outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 6000, 500))
def test_thousands_of_random_sets(start, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcomes = [run_trial(seed) for seed in range(start, start + 500)]
    assert not [str(one) for one in outcomes if one.wrong]
    assert sum(not one.refused for one in outcomes) > MIN_READ * len(outcomes)
