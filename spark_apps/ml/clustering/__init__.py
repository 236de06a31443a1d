"""Grouping rows that nobody has labelled: where they lie, who groups them, and how good the groups are."""
