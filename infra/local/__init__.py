"""The supervised stack on one machine, and the command that people type."""
