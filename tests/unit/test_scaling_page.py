"""The page of scaling, from tables of results."""

from infra.docs import scaling_page


def test_a_broadcast_that_failed_is_said_to_have_failed():
    tables = {"broadcast": [{"names": 4_000_000, "broadcast": None, "shuffled": [9.5, 0.25], "shuffled_heap_mib": 1}]}
    assert "| 4,000,000 | fails: no room |  | 9.50 ± 0.25 |" in scaling_page.page(tables)
