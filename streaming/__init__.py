"""What never stops: the replayer (log file to Kafka) and the streaming application (Kafka to the lake)."""
