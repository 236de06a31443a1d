"""How work is submitted: the only place that knows."""
