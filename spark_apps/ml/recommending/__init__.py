"""Recommending items to users from ratings: models, lists, measures. Pure functions over DataFrames."""
