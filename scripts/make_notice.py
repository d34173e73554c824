"""Write the credits of the embedded shapes into NOTICE.

    python scripts/make_notice.py

Everything from the heading of section 3 on is replaced; the sections before it are written by hand. The
credits come from the sample file itself, which holds name, creator, licence and origin of every shape.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from textwrap import TextWrapper

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLES = REPOSITORY / "foundry_edge" / "assets" / "furniture.npz"
NOTICE = REPOSITORY / "NOTICE"
HEADING = "3. Furniture shapes (foundry_edge/assets/furniture.npz and the scans in examples/)"
LICENCES = {
    "CC-BY-3.0": "Creative Commons Attribution 3.0 Unported, https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-3.0-US": (
        "Creative Commons Attribution 3.0 United States, https://creativecommons.org/licenses/by/3.0/us/"
    ),
    "CC0-1.0": "Creative Commons Zero 1.0, https://creativecommons.org/publicdomain/zero/1.0/",
}
INTRODUCTION = """\
The shapes come from models of the furniture catalogue of Sweet Home 3D, as packaged in the Debian package
sweethome3d-furniture 1.8-1: the packs Blend Swap CC-0, Blend Swap CC-BY, Kator Legaz (Andrew Kator and
Jennifer Legaz, http://www.katorlegaz.com), Reallusion (http://www.reallusion.com) and Scopia
(http://www.scopia.es), collected by eTeks (http://www.sweethome3d.com). The authors named below do not
endorse this project.

Changes made to every model: the mesh was turned upright, 1024 points were sampled from its surface, centred,
scaled to radius 1 and rounded to 16 bits; colours, textures and materials were left out. The example scans
show points of such models as a depth camera might see them, with noise and a floor added
(examples/README.md).

The models keep their licences:
"""

WRAP = TextWrapper(108, "  ", "    ", break_long_words=False, break_on_hyphens=False)

Credit = tuple[str, str, str, str, str]  # licence, creator, original title, its URL, name in the catalogue


def read_credits(samples: Path) -> list[Credit]:
    """One row per shape, sorted by licence and creator, case ignored."""
    data = np.load(samples, allow_pickle=False)
    columns = [data[key].tolist() for key in ("licence", "creator", "title", "url", "name")]
    return sorted(zip(*columns, strict=True), key=lambda row: [field.casefold() for field in row])


def works(rows: list[Credit]) -> Iterator[str]:
    """The works of one creator: names in the catalogue, then the original title and its address if stated."""
    for (title, url), group in groupby(rows, key=lambda row: row[2:4]):
        names = [row[4] for row in group]
        counts = {name: names.count(name) for name in sorted(names)}
        text = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items())
        yield text + (f', from "{title}"' if title else "") + (f", {url}" if url else "")


def section(rows: list[Credit]) -> str:
    """The whole text of section 3."""
    parts = [f"{HEADING}\n{'-' * len(HEADING)}\n{INTRODUCTION}"]
    for licence, by_licence in groupby(rows, key=lambda row: row[0]):
        parts.append(f"\n{LICENCES[licence]}\n\n")
        for creator, group in groupby(by_licence, key=lambda row: row[1]):
            line = f"{creator}: {'; '.join(works(list(group)))}."
            parts.append(WRAP.fill(line) + "\n")
    return "".join(parts)


def main() -> None:
    """Replace section 3 of NOTICE."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    head = NOTICE.read_text(encoding="utf-8").partition(HEADING)[0]
    rows = read_credits(SAMPLES)
    NOTICE.write_text(head + section(rows), encoding="utf-8")
    print(f"{NOTICE}: {len(rows)} shapes by {len({row[1] for row in rows})} creators")


if __name__ == "__main__":
    main()
