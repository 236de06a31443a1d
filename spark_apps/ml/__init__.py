"""Splits, features, algorithms, metrics and choosing: pure functions over DataFrames."""
