"""Mathematics, typeset as MathML when the site is built.

Browsers draw MathML themselves, screen readers read it, and it needs no script.  What it needs
is a font with the measures of mathematics, of which the site carries the letters that it uses.
"""

from __future__ import annotations

import json
import re
import unicodedata
from html import unescape
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from website import build, fonts, node

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.writers.html5 import HTML5Translator

FONT = node.MODULES / "@fontsource/stix-two-math/files/stix-two-math-latin-400-normal.woff2"
STYLE = node.MODULES / "temml/dist/Temml-STIX2.css"
STYLE_SHEET = "mathematics.css"
PUNCTUATION = re.compile(r"[,.;:!?)\]’”–-]+")
# Browsers slant a letter that stands alone: the mathematical italics, and h, which is older.
ITALICS = [0x210E, *range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C)]


def setup(app: Sphinx) -> None:
    """Register the renderer, and typeset when all pages are read."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.add_post_transform(_Joined)
    app.connect("env-updated", _typeset)
    app.add_css_file(STYLE_SHEET)


def mathml(env: BuildEnvironment, formula: nodes.math | nodes.math_block) -> str:
    """Return a formula of any page as MathML."""
    typeset: dict[tuple[str, bool], str] = env.mathml  # type: ignore[attr-defined]
    return typeset[_key(formula)]


class _Joined(SphinxPostTransform):
    """Formulas together with the punctuation that follows, so that no line begins with a comma."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for formula in list(self.document.findall(nodes.math)):
            text = formula.next_node(descend=False, siblings=True)
            sign = PUNCTUATION.match(text) if isinstance(text, nodes.Text) else None
            if sign:
                parent, place = formula.parent, formula.parent.index(formula)
                joined = nodes.inline("", "", formula, nodes.Text(sign[0]), classes=["nobr"])
                # By place: other texts may be equal.
                parent[place : place + 2] = [joined, nodes.Text(text[sign.end() :])]


def _typeset(app: Sphinx, env: BuildEnvironment) -> None:
    """Typeset all formulas at once, and make the font that they need."""
    formulas = {
        _key(formula)
        for page in env.found_docs
        for formula in env.get_doctree(page).findall(_is_formula)
    }
    ordered = sorted(formulas)
    asked = json.dumps([{"tex": tex, "display": display} for tex, display in ordered])
    answers = json.loads(node.run("typeset.mjs", stdin=asked))
    env.mathml = dict(zip(ordered, answers, strict=True))  # type: ignore[attr-defined]
    (build.static(app) / STYLE_SHEET).write_text(_style("".join(answers)), "utf-8")


def _key(formula: nodes.math | nodes.math_block) -> tuple[str, bool]:
    return formula.astext(), isinstance(formula, nodes.math_block)


def _is_formula(element: nodes.Node) -> bool:
    return isinstance(element, nodes.math | nodes.math_block)


def _inline(translator: HTML5Translator, element: nodes.math) -> None:
    translator.body.append(mathml(translator.builder.env, element))
    raise nodes.SkipNode


def _display(translator: HTML5Translator, element: nodes.math_block) -> None:
    translator.body.append(translator.starttag(element, "div", CLASS="math"))
    if element["number"]:
        translator.body.append(f'<span class="eqno">({element["number"]})')
        translator.add_permalink_ref(element, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(f"{mathml(translator.builder.env, element)}</div>\n")
    raise nodes.SkipNode


def _style(formulas: str) -> str:
    """Return Temml's rules with the font's letters for these formulas."""
    text = unescape(re.sub("<[^>]*>", "", formulas))
    letters = {ord(letter) for letter in text}
    letters |= {code for code in ITALICS if unicodedata.normalize("NFKC", chr(code)) in text}
    source = fonts.address(FONT, letters, ["ssty", "ss01", "ss04"])
    face = f'@font-face {{ font-family: STIX2; src: url("{source}"); }}'
    return fonts.FACE.sub(face, STYLE.read_text("utf-8"), count=1)
