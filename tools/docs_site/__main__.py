"""Build the documentation: python -m tools.docs_site [--out FOLDER]. It needs `pip install -e '.[docs]'`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .site import ROOT, build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="folder of the site [build/site]")
    out = parser.parse_args().out
    build(out, ROOT / "build" / "pages")
    print(f"{out}/index.html")


if __name__ == "__main__":
    main()
