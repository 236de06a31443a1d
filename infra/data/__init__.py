"""Where large data comes from."""
