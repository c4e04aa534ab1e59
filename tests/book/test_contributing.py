"""The guide's example of a new claim works as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

from tests.claims import alignment, load
from tests.claims.pages import unmarked
from tests.claims.test_claims import agrees

GUIDE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")


def test_the_example_is_a_new_claim_that_holds() -> None:
    sentence, printed, name = re.search(
        r"^ +(.*\[(.+)\]\(claims\.md#(.+)\).*)$", GUIDE, re.M
    ).groups()
    assert list(unmarked(sentence)) == []
    assert name not in load()
    code = dedent(re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)[1])
    module = {**vars(alignment), "claim": lambda function: function}
    exec(code, module)
    computed = module[name.replace("-", "_")]()
    assert agrees(printed, computed)
    assert not agrees("1.9", computed)
    assert f"prints '1.9', computed is {computed!r}" in GUIDE
