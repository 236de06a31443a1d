"""Work on a cluster behind SSH: staged, submitted once, watched without a worker slot, brought back with checksums.

``operator`` and ``trigger`` are Airflow's side and ``connections`` reads Airflow's connections. Everything else knows
nothing of Airflow: texts that run on the cluster (``job.sh``, ``remote/``), what they answer, and what follows from it.
"""
