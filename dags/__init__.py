"""When work happens: schedule and order only."""
