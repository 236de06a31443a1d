"""Every side effect of the Spark side: session, tables, snapshots, model registry, operational records."""
