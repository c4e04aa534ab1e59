"""The page of questions: short answers, each with a section and a thread."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "book" / "faq.md"
ANSWERS = dict(re.findall(r"^### (.+)\n\n((?:.+\n)+)", PAGE.read_text("utf-8"), flags=re.MULTILINE))
THREAD = re.compile(r"\(https://github\.com/[\w.-]+/[\w.-]+/(?:issues|pull)/\d+\)")
SECTION = re.compile(r"\((?!claims\.md)\w+\.(?:ipynb|md)[#)]")
SOURCE = re.compile(r"(?:See|Asked|Seen|Discussed|Treated|Pointed out)\b.*")


def test_there_are_enough():
    assert len(ANSWERS) >= 15


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_short_and_leads_on(question):
    answer = ANSWERS[question]
    assert THREAD.search(answer)
    assert SECTION.search(answer)
    said = "\n".join(line for line in answer.splitlines() if not SOURCE.fullmatch(line))
    assert 2 <= len(re.findall(r"[.?](?=\s|$)", said)) <= 5
