"""What the stream needs of the rules: which of them send a row to quarantine."""

from pyspark.sql import Column

from expectations.compile import violations
from expectations.rules import load


def quarantining_rules(dataset: str) -> Column | None:
    """``violations`` of the dataset's rules marked ``on_fail: quarantine``, for its parsed rows; None without any."""
    rules = load(dataset).quarantining
    return violations(rules) if rules else None
