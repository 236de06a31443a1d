"""docs/dags.md is what the DAGs say today."""

from infra.docs.dag_pages import PAGE, page


def test_the_page_of_dags_is_fresh():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"
