"""What runs on Spark: one verb per file is one spark-submit; logic is in transforms/ and ml/, side effects in io/."""
