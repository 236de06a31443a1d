"""
### Promotion: {name}

{about}

**Produces** a question to a person whether the candidate of `retrain_{name}` becomes champion, with its reason and the
errors of everyone compared; after a yes, the promotion and its line in the ledger.

**For** whoever answers for the model. It starts when `retrain_{name}` announces a candidate that passed the gate, for
pipelines whose file says `promotion: ask`.

**When it fails:** skipped `promote` means that somebody said no, or that nobody answered in {patience_days} days: the
champion stays. Red `promote` with exit code 4 means that the champion has changed since the candidate was judged; the
next training judges anew. Every step can be cleared safely. Runbook: `docs/runbooks/promote.md`.
"""

from airflow.sdk import DAG

from contracts.pipelines import PipelineSpec, load_readable
from dags.operators.announcements import candidate_asset
from dags.operators.approvals import PATIENCE, RUN_LIMIT, ask
from dags.operators.house import house
from dags.operators.promotion import DECISION, resolve_decision
from dags.operators.runs import run_file
from dags.operators.spark import spark_app


def promote(spec: PipelineSpec) -> DAG:
    """The DAG ``promote_<pipeline>``: its candidates become champion when a person says so."""
    page = (__doc__ or "").format(name=spec.name, about=spec.about, patience_days=PATIENCE.days)
    with DAG(
        dag_id=f"promote_{spec.name}",
        schedule=[candidate_asset(spec.name)],
        **house(page, workload=spec.dataset.partition(".")[2], tier=2, run_limit=RUN_LIMIT),
    ) as dag:
        resolved = resolve_decision(spec.name)
        carried_out = spark_app("promote", "--pipeline", spec.name, "--decision", run_file(DECISION))

        resolved >> ask(asked_by="resolve_decision") >> carried_out
    return dag


# A spec that cannot be read costs its own DAG and no other; pipeline_specs.py makes Airflow show what is wrong.
for pipeline in load_readable()[0].values():
    if pipeline.promotion == "ask":
        promote(pipeline)
