"""A picture of each page for those who share it: its title over the two curves of the icon."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from website import address, build, contents

if TYPE_CHECKING:
    from sphinx.application import Sphinx

WIDTH, HEIGHT = 1200, 630  # pixels, the shape that sites which show cards ask for
BLUE, RED, INK, GREY = "#0072b2", "#d55e00", "#222832", "#48566b"


def setup(app: Sphinx) -> None:
    """Draw the pictures last; without the address of the site nothing can link to them."""
    build.when_written(app, _draw_all)


def path(page: str) -> str:
    """Return where the picture of a page is, from the root of the site."""
    return f"_images/cards/{page.replace('/', '-')}.png"


def _draw_all(app: Sphinx) -> None:
    if not address.site(app):
        return
    for page in app.env.found_docs:
        file = Path(app.outdir) / path(page)
        file.parent.mkdir(parents=True, exist_ok=True)
        _draw(contents.title(app, page), app.config.html_title, file)


def _draw(title: str, book: str, file: Path) -> None:
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context({"font.family": "STIXGeneral"}):
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(-9, 9), ylim=(0, 3))
        axes.set_axis_off()
        x = np.linspace(-9, 9, 400)
        for mean, height, colour in [(2.2, 1.15, BLUE), (4.6, 0.8, RED)]:
            y = height * np.exp(-((x - mean) ** 2) / 3)
            axes.fill_between(x, y, color=colour, alpha=0.12, linewidth=0)
            axes.plot(x, y, color=colour, linewidth=6)
        figure.text(0.06, 0.85, book, color=GREY, size=26)
        for number, line in enumerate(textwrap.wrap(title, 26)):
            figure.text(0.06, 0.68 - 0.15 * number, line, color=INK, size=58, weight="bold")
        figure.savefig(file)
