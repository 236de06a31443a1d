"""Stands in for a Spark application: what is under test is the way to it and back, whoever dies meanwhile."""

import hashlib
import json
import os
import sys
import time

time.sleep(4)
args = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
outputs = os.environ["MILLRACE_OUTPUTS"]
os.makedirs(outputs, exist_ok=True)
with open(f"{outputs}/weights", "wb") as weights:
    weights.write(b"w")
folder = os.environ["MILLRACE_STATE"] + "/runs/fit"
os.makedirs(folder)
result = {
    "context": {"dag_id": args["--dag-id"], "run_id": args["--run-id"], "task_id": args["--task-id"]},
    "application": "fit", "status": "done", "started_at": "2026-11-30T00:00:00Z", "finished_at": "2026-11-30T00:01:00Z",
    "artefacts": [{"path": "weights", "sha256": hashlib.sha256(b"w").hexdigest()}],
}  # fmt: skip
with open(f"{folder}/result.json", "w", encoding="utf-8") as file:
    json.dump(result, file)
