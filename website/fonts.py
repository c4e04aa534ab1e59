"""Fonts cut down to the letters in use, small enough to stand within the style sheet.

There they are at hand when the first line is drawn, so that nothing moves when they arrive.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FACE = re.compile(r"@font-face\s*{[^}]*}")
PACKED = re.compile(r"([\w-]+\.woff2)")
SOURCE = re.compile(r"\bsrc:[^;}]*")
# What the theme draws as icons: letters of the private use area, from F000.
ICON = re.compile(r'"\\(f[0-9a-f]{3})"')


def address(font: Path, letters: Iterable[int], features: Iterable[str] = ()) -> str:
    """Return a data address of the font with these letters, or none if it has none of them."""
    with TTFont(font, recalcTimestamp=False) as cut:
        wanted = set(letters) & cut.getBestCmap().keys()
        if not wanted:
            return ""
        subsetter = Subsetter(Options(layout_features=list(features), hinting=False))
        subsetter.populate(unicodes=wanted)
        subsetter.subset(cut)
        cut.flavor = "woff2"
        packed = BytesIO()
        cut.save(packed)
    return f"data:font/woff2;base64,{base64.b64encode(packed.getvalue()).decode()}"


def embed_icons(style: str, folder: Path) -> str:
    """Return the style sheet with its icon fonts, found anywhere in the folder, within it."""
    letters = {int(code, 16) for code in ICON.findall(style)}
    files = {path.name: path for path in folder.rglob("*.woff2")}

    def embedded(face: re.Match[str]) -> str:
        packed = PACKED.search(face[0])
        if not packed:
            return face[0]
        source = address(files[packed[1]], letters)
        return SOURCE.sub(f'src:url("{source}")', face[0]) if source else ""

    return FACE.sub(embedded, style)
