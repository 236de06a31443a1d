"""Who asks: the live page. Starts no JVM."""
