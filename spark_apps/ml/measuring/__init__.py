"""How good an answer is, for whom, and how surely: measures on all rows, paired tests, curves."""
