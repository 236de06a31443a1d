"""The JVM behind a session, for what pyspark offers no way to: the one place that asks it for classes."""

from typing import Any

from pyspark.sql import SparkSession

#: pyspark asks for these by their simple names whenever a column is made, and the JVM looks for each in every package
#: that pyspark imports.
_ASKED_FOR = ("functions", "PythonUtils")


def class_named(spark: SparkSession, name: str) -> Any:  # noqa: ANN401 - a Java class
    """A class by its full name. (Through the packages, ``jvm.java.nio...``, every step is looked up by itself.)"""
    return getattr(_view(spark), name)


def array_of(spark: SparkSession, java_class: Any, *items: Any) -> Any:  # noqa: ANN401 - Java objects
    gateway: Any = spark.sparkContext._gateway  # noqa: SLF001
    array = gateway.new_array(java_class, len(items))
    for place, item in enumerate(items):
        array[place] = item
    return array


def remember_classes(spark: SparkSession) -> None:
    """Have this process look up once what pyspark would look up again and again."""
    view = _view(spark)
    for name in _ASKED_FOR:
        setattr(view, name, getattr(view, name))


def _view(spark: SparkSession) -> Any:  # noqa: ANN401
    return spark.sparkContext._jvm  # noqa: SLF001
