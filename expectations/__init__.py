"""What must hold: one YAML file per dataset, compiled to a Great Expectations suite and to Spark predicates."""
