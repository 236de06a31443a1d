"""Commands of people that need Spark's packages and no session: `millrace registry`."""
