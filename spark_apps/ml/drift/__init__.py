"""Are the rows that come in still like those that a model was trained on? Counts, tests and a verdict."""
