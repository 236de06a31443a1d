"""A year in fast-forward: real rows, planted events, and what each way of retraining makes of them."""
