"""A home of its own for Airflow, and settings that point nowhere real. Importing this prepares the environment.

Airflow reads its home when it is first imported, so the folder's conftest imports this before anything else does.
"""

import os
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCRATCH = Path(tempfile.mkdtemp(prefix="millrace-dags-"))
STATE, TOOLCHAIN = SCRATCH / "state", SCRATCH / "toolchain"

for name in [name for name in os.environ if name.startswith(("AIRFLOW", "MILLRACE_"))]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": str(SCRATCH / "airflow"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "dags" / "plugins"),
    "AIRFLOW_CONN_SPARK_CLUSTER": '{"conn_type": "spark", "host": "spark://spark-master", "port": 7077}',
    "MILLRACE_STATE": str(STATE),
    "MILLRACE_TOOLCHAIN": str(TOOLCHAIN),
    # Nothing listens near there: a test that asks the master or the stream by accident is refused at once.
    "MILLRACE_PORTS__BASE": "1024",
}
# The Java options of short applications name the class-data-sharing archive only where it exists.
(TOOLCHAIN / "cds").mkdir(parents=True)
(TOOLCHAIN / "cds" / "spark.jsa").touch()
