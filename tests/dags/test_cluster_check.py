"""Before spark-submit starts: is there a worker at all?"""

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from contracts.settings import Ports, Settings
from dags.operators.spark import require_cluster
from tests.dags.web import serving

MASTER = "spark://127.0.0.1:7077"


def settings(master_page: int) -> Settings:
    return Settings(ports=Ports(base=master_page - 81))


def test_a_cluster_with_a_worker_is_good_enough():
    asked = []
    with serving(lambda path: asked.append(path) or {"aliveworkers": 1}) as (port, _):
        require_cluster(settings(port), MASTER, patience_s=0)
    assert asked == ["/json/"]


def test_a_cluster_without_workers_is_worth_a_retry_and_says_so():
    advice = r"no worker that is alive.*Run: bin/millrace status"
    with serving({"aliveworkers": 0}) as (port, _), pytest.raises(AirflowException, match=advice) as raised:
        require_cluster(settings(port), MASTER, patience_s=0)
    assert not isinstance(raised.value, AirflowFailException)


def test_a_worker_that_comes_up_in_time_is_waited_for():
    answers = iter([{"aliveworkers": 0}, {"aliveworkers": 1}])
    with serving(lambda _path: next(answers)) as (port, _):
        require_cluster(settings(port), MASTER, patience_s=5)
    assert next(answers, None) is None


def test_a_master_that_does_not_answer_is_worth_a_retry():
    with serving() as (port, _):
        pass
    with pytest.raises(AirflowException, match="no answer from the master's page"):
        require_cluster(settings(port), MASTER, patience_s=0)


def test_the_page_of_another_cluster_is_not_guessed():
    asked = []
    with serving(lambda path: asked.append(path) or {"aliveworkers": 0}) as (port, _):
        elsewhere = settings(port).model_copy(update={"spark_master": "spark://elsewhere:7077"})
        require_cluster(elsewhere, "spark://elsewhere:7077", patience_s=0)
    assert asked == []


def test_a_master_that_is_not_spark_is_refused_at_once():
    with pytest.raises(AirflowFailException, match="required a connection spark_cluster"):
        require_cluster(settings(1105), "yarn", patience_s=0)
