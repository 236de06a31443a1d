"""The page of the occupation study is made of the committed results, and of nothing else."""

import json

import pytest

from infra.docs import occupation_page


def test_the_page_of_the_occupation_study_and_its_picture_are_those_of_the_results():
    found = json.loads(occupation_page.RESULT.read_text(encoding="utf-8"))
    assert occupation_page.PAGE.read_text(encoding="utf-8") == occupation_page.page(found), "run: make docs"
    assert occupation_page.PICTURE.read_text(encoding="utf-8") == occupation_page.picture(found), "run: make docs"


@pytest.mark.parametrize(("value", "said"), [(0.0123, "+0.012"), (-0.5, "\u22120.500")])
def test_a_difference_has_its_sign(value, said):
    assert occupation_page._signed(value) == said
