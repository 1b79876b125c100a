"""Pieces of the pages."""

from __future__ import annotations

import pytest

from danlu.report.markup import file_name


@pytest.mark.parametrize(
    ("name", "html"),
    [
        ("daisy/001.jpg", "<bdi><i>daisy/</i><span>001.jpg</span></bdi>"),
        ("a/b/001.jpg", "<bdi><i>a/b/</i><span>001.jpg</span></bdi>"),
        ("train sample 3", "<bdi><span>train sample 3</span></bdi>"),
        ("<b>/&.jpg", "<bdi><i>&lt;b&gt;/</i><span>&amp;.jpg</span></bdi>"),
    ],
)
def test_folders_of_a_file_are_apart_from_its_name(name: str, html: str) -> None:
    assert file_name(name) == html
