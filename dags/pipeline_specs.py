"""No DAG. Fails to parse where a pipeline spec cannot be read: Airflow then shows what is wrong as an import error.

`retrain.py` leaves such a pipeline out and makes the DAGs of the others: a file that raises has no DAG at all.
"""

from contracts.pipelines import load_all

# Airflow opens this file only because the words DAG and Airflow are in it (core.dag_discovery_safe_mode).
load_all()
