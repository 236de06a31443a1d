"""What Airflow must know by name to read our DAGs back from its database."""

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from dags.operators.deadlines import DagRunFirstQueuedDeadline


class Millrace(AirflowPlugin):
    """Found in the folder of plugins (``AIRFLOW__CORE__PLUGINS_FOLDER``)."""

    name = "millrace"
    deadline_references: ClassVar = [DagRunFirstQueuedDeadline]
