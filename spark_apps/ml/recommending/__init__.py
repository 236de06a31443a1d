"""Recommending items to users from ratings: splits, models, lists, measures. Pure functions over DataFrames."""
