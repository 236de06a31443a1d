"""One model of everybody's rows, and what their owners can do without handing rows over."""
