"""DataFrame in, DataFrame out: the same functions serve batch and stream."""
