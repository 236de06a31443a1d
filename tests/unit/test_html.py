"""Numbers on the pages for people."""

import pytest

from spark_apps.io.html import number, probability


@pytest.mark.parametrize(
    ("value", "said"), [(None, ""), (2.134e-297, "< 0.0001"), (0.0001, "0.0001"), (0.0497, "0.0497"), (1.0, "1.0000")]
)
def test_a_probability_is_as_long_as_anybody_needs(value, said):
    assert probability(value) == said


@pytest.mark.parametrize(("value", "said"), [(None, ""), (12430, "12,430"), (0.49591, "0.4959"), (1234.5, "1,234.50")])
def test_a_number_has_four_digits_and_thousands_apart(value, said):
    assert number(value) == said
