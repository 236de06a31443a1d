"""What an answer costs: seconds of this machine, so only those of one run may be held against each other."""

from collections.abc import Callable, Mapping
from time import perf_counter

from pyspark.sql import DataFrame

#: The first try also pays for what Spark compiles and keeps; the shortest is the least disturbed by others.
_TRIES = 3


def seconds(answers: Mapping[str, DataFrame], clock: Callable[[], float] = perf_counter) -> dict[str, float]:
    """How long each frame takes to be worked out whole, the shortest of three times: taken in turns, so that a machine
    that is busy for a while is so for everybody.
    """
    taken: dict[str, list[float]] = {name: [] for name in answers}
    for _ in range(_TRIES):
        for name, frame in answers.items():
            began = clock()
            frame.write.format("noop").mode("overwrite").save()
            taken[name].append(clock() - began)
    return {name: min(times) for name, times in taken.items()}
