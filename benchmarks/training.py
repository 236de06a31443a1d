"""Measure training: parallel search, many rows, many columns, remedies for unequal classes. `make bench-training`.

    make bench-training PARTS="[search] [rows] [columns] [imbalance]"

Runs on a cluster of its own, master and two workers, with the executors of the profile ``large``. Seconds are wall time
on an otherwise idle machine, memory is the most that the executors and the driver had resident, added up.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pyspark.ml import Pipeline
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.figures import Figures
from contracts import pipelines
from contracts.landed_files import HIGGS_FEATURES
from contracts.pipelines.algorithms import Gbt, LogisticRegression, RandomForest
from contracts.pipelines.parts import Imbalance, RandomSplit, Search
from contracts.pipelines.spec import PipelineSpec
from contracts.profiles import profile
from contracts.settings import REPOSITORY, Settings
from infra.local.places import Places
from spark_apps.io import session
from spark_apps.ml import algorithms, families, imbalance, trials, tuning
from spark_apps.ml.fitted import CANDIDATE
from spark_apps.ml.measuring import rating
from spark_apps.ml.splitting import splits

PORT_BASE = 28200
MILLRACE = str(REPOSITORY / "bin" / "millrace")
SAMPLES = REPOSITORY / "samples" / "higgs"
CLUSTER = ("spark-master", "spark-worker-1", "spark-worker-2")
ROWS = 1_000_000
SPARSE_ROWS, CATEGORIES, VALUES = 100_000, 5, 2_000
#: The executors of one application may have as much together.
MOST_MIB = 4096
FOREST = RandomForest(name="random_forest", num_trees=(10, 20), max_depth=(5, 8))


def main() -> None:
    measures = {"search": search, "rows": rows, "columns": columns, "imbalance": remedies}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(measures)} (default all)")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(measures):
        parser.error(f"found the parts {sorted(unknown)}, required some of {', '.join(measures)}")
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        os.environ |= {
            "MILLRACE_STATE": f"{folder}/var", "MILLRACE_PORTS__BASE": str(PORT_BASE), "PYSPARK_PYTHON": sys.executable,
        }  # fmt: skip
        subprocess.run([MILLRACE, "up", *CLUSTER], check=True)
        try:
            for part in args.parts or measures:
                with _session(part) as spark:
                    measures[part](spark, Path(folder), figures)
        finally:
            subprocess.run([MILLRACE, "down"], check=True)
    print(f"written to {figures.write('training').relative_to(REPOSITORY)}")


def search(spark: SparkSession, _: Path, figures: Figures) -> None:
    """The same grid of forests on HIGGS by our search, at three degrees of parallelism, and by Spark's own."""
    spec = _higgs(algorithms=(FOREST,), search=Search(method="grid", folds=3, metric="roc_auc"))
    frame = _collisions(spark)
    train = splits.of(frame, spec).train(frame).cache()
    train.count()
    at = {n: partial(_searched_and_fitted, train, _with_parallelism(spec, n)) for n in (1, 2, 4)}
    theirs = partial(_cross_validated, train, spec)
    for compiles in (at[1], theirs):
        compiles()
    # Whoever comes later finds more of the code compiled: each comes before the other once.
    seconds = [_seconds(work) for work in (at[1], theirs, at[2], at[4], theirs, at[1])]
    ours, cross_validated = (seconds[0] + seconds[5]) / 2, (seconds[1] + seconds[4]) / 2
    for parallelism, found in ((1, ours), (2, seconds[2]), (4, seconds[3])):
        figures.add(f"search_s_at_parallelism_{parallelism}", found, "s")
    figures.add("search_s_of_cross_validator", cross_validated, "s, parallelism 1")
    figures.add("search_ratio_to_cross_validator", ours / cross_validated, "ratio at parallelism 1", "<= 1.0")


def rows(spark: SparkSession, folder: Path, figures: Figures) -> None:
    """A million rows of 28 numbers, audited, fitted and judged."""
    numbers = [F.randn(seed=n).alias(name) for n, name in enumerate(HIGGS_FEATURES)]
    chance = 1 / (1 + F.exp(-(F.col("m_bb") + F.col("m_jj") * F.col("lepton_pt"))))
    made = spark.range(ROWS).select(F.lit("a").alias("source_sha256"), F.col("id").alias("source_line"), *numbers)
    path = str(folder / "rows.parquet")
    made.withColumn("label", (F.rand(seed=99) < chance).cast("int")).write.parquet(path)
    named = {
        "logistic_regression": LogisticRegression(name="logistic_regression"),
        "random_forest": RandomForest(name="random_forest"),
        "gbt": Gbt(name="gbt"),
    }
    for name, algorithm in named.items():
        spec = _higgs(algorithms=(algorithm,), split=_at_random())
        _train(spark, spark.read.parquet(path), spec, f"million_rows.{name}", figures)


def columns(spark: SparkSession, folder: Path, figures: Figures) -> None:
    """Ten thousand columns, of which a row has five: categories of two thousand values each."""
    names = [f"c{n}" for n in range(CATEGORIES)]
    values = [F.floor(F.rand(seed=n) * VALUES).cast("string").alias(name) for n, name in enumerate(names)]
    made = spark.range(SPARSE_ROWS).select(F.lit("a").alias("source_sha256"), F.col("id").alias("source_line"), *values)
    # What a value says of the label is drawn once for each value.
    leaning = sum((F.pmod(F.xxhash64(name), F.lit(1000)) / 1000 - 0.5 for name in names), F.lit(0.0))
    path = str(folder / "columns.parquet")
    made.withColumn("label", (F.rand(seed=99) < 1 / (1 + F.exp(-2 * leaning))).cast("int")).write.parquet(path)
    spec = _higgs(algorithms=(LogisticRegression(name="logistic_regression", reg_param=0.01),), split=_at_random())
    wide = spec.features.model_copy(update={"numeric": (), "categories": tuple(names)})
    asked = spec.model_copy(update={"features": wide})
    _train(spark, spark.read.parquet(path), asked, "ten_thousand_columns.logistic_regression", figures)


def remedies(spark: SparkSession, _: Path, figures: Figures) -> None:
    """HIGGS thinned to one signal in twenty-one rows on both sides, and what each remedy makes of it."""
    frame = _collisions(spark)
    natural = splits.of(frame, _higgs())
    key = F.concat_ws("/", "source_sha256", F.col("source_line").cast("string"))
    train, holdout = (
        imbalance.induce(part(frame.withColumn("row", key)), "label", 1 / 21, 42, "row").drop("row").cache()
        for part in (natural.train, natural.holdout)
    )
    for algorithm in (LogisticRegression(name="logistic_regression"), Gbt(name="gbt", max_iter=20)):
        for method in (None, "weights", "undersample", "oversample", "smote"):
            spec = _higgs(algorithms=(algorithm,), imbalance=Imbalance(method=method) if method else None)
            model = algorithms.fit(train, spec, spec.features.columns, algorithm, {})
            found = rating.judge(train, holdout, {CANDIDATE: model}, spec).measures()[CANDIDATE].model_dump()
            for measure in ("pr_auc", "roc_auc", "log_loss", "ece"):
                goal = f"<= {found['ece_limit']:.4f}" if measure == "ece" else ""
                figures.add(f"one_to_twenty.{algorithm.name}.{method or 'nothing'}.{measure}", found[measure], "", goal)


def _train(spark: SparkSession, frame: DataFrame, spec: PipelineSpec, name: str, figures: Figures) -> None:
    """What the application train does between reading the snapshot and storing the model."""
    began = time.monotonic()
    fitted = families.fit_and_rate(frame, splits.of(frame, spec), spec)
    figures.add(f"{name}.s", time.monotonic() - began, "s, audit, fit and holdout")
    figures.add(f"{name}.roc_auc", fitted.errors[CANDIDATE].numbers()["roc_auc"], "ROC-AUC")
    executors, driver = _resident_mib(spark)
    figures.add(f"{name}.executors_mib", executors, "MiB at most", f"<= {MOST_MIB}")
    figures.add(f"{name}.driver_mib", driver, "MiB at most")


def _searched_and_fitted(train: DataFrame, spec: PipelineSpec) -> None:
    best = trials.best(tuning.search(train, spec, spec.features.columns))
    algorithms.fit(train, spec, spec.features.columns, FOREST, best["random_forest"].chosen)


def _cross_validated(train: DataFrame, spec: PipelineSpec) -> None:
    forest = RandomForestClassifier(featuresCol="features", labelCol="label", seed=spec.seed)
    assembler = VectorAssembler(inputCols=spec.features.columns, outputCol="features")
    grid = ParamGridBuilder().addGrid(forest.numTrees, list(FOREST.num_trees))
    grid = grid.addGrid(forest.maxDepth, list(FOREST.max_depth))
    judge = BinaryClassificationEvaluator(labelCol="label")
    CrossValidator(
        estimator=Pipeline(stages=[assembler, forest]), estimatorParamMaps=grid.build(), evaluator=judge,
        numFolds=3, seed=spec.seed, parallelism=1,
    ).fit(train)  # fmt: skip


def _higgs(**changes: object) -> PipelineSpec:
    plain = {"search": None, "calibration": None, "imbalance": None}
    return pipelines.load("higgs").model_copy(update=plain | changes)


def _with_parallelism(spec: PipelineSpec, number: int) -> PipelineSpec:
    return spec.model_copy(update={"search": spec.search.model_copy(update={"parallelism": number})})


def _at_random() -> RandomSplit:
    return RandomSplit(kind="random", holdout_fraction=0.2, min_train_rows=2, min_holdout_rows=2)


def _collisions(spark: SparkSession) -> DataFrame:
    """Both files of the pipeline as its snapshot has them."""
    parts = []
    for number, path in enumerate(sorted(SAMPLES.glob("higgs_r*.csv.gz"))):
        read = spark.read.csv(str(path), header=True, inferSchema=True)
        label = next(name for name in read.columns if name.lower() in ("label", "response"))
        others = [name for name in read.columns if name != label]
        named = [F.col(name).cast("double").alias(own) for name, own in zip(others, HIGGS_FEATURES, strict=True)]
        line = F.monotonically_increasing_id().alias("source_line")
        parts.append(read.select(
            F.lit(path.name.removesuffix(".gz")).alias("source_file"), F.lit(str(number)).alias("source_sha256"), line,
            F.col(label).cast("int").alias("label"), *named,
        ))  # fmt: skip
    return parts[0].unionByName(parts[1]).repartition(2).cache()


@contextmanager
def _session(name: str) -> Iterator[SparkSession]:
    size, settings = profile("large"), Settings()
    # Its properties have the secret without which a master of ours answers nobody.
    properties = Places(settings).properties
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        f"--properties-file {properties} --driver-memory {size.driver_memory_mib}m pyspark-shell"
    )
    spark = session.start(settings, name, spark__executor__memory=f"{size.executor_memory_mib}m")
    try:
        yield spark
    finally:
        spark.stop()


def _resident_mib(spark: SparkSession) -> tuple[float, float]:
    """The most memory that the Java processes of executors and driver had until now."""
    application = spark.sparkContext.applicationId
    commands = {
        int(path.parent.name): path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
    }  # fmt: skip
    backends = [pid for pid, said in commands.items() if "CoarseGrainedExecutorBackend" in said and application in said]
    driver = int(spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid())  # noqa: SLF001 - for its memory
    return sum(_peak_mib(pid) for pid in backends), _peak_mib(driver)


def _peak_mib(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def _seconds(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
