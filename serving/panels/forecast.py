"""What the model expected of a range, beside what happened."""

from serving.lake import Lake, seconds
from serving.panels.shared import (
    FORECAST,
    MINUTES,
    NAME_LIMIT,
    SILENCE_S,
    Asked,
    Json,
    bucket_sql,
    bucket_starts,
    within,
)
from serving.text import printable_text


def forecast(lake: Lake, asked: Asked) -> Json:
    """Forecast against actual, requests per minute.

    ``{"at_s", "forecast", "actual"}`` (means per bucket, null where there is none), ``"models": [{"name", "version",
    "minutes", "mean_absolute_error", "mean_actual", "scored_at_s"}]``. A silent minute that was forecast counts as 0.
    """
    period = asked.period
    tables = {"forecasts": FORECAST, "minutes": MINUTES}
    # A minute without requests was silent when the log goes on soon after it, and is not known yet otherwise.
    following = "min(m.minute_at) OVER (ORDER BY f.minute_at ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
    joined = (
        f"WITH side_by_side AS (SELECT {seconds('f.minute_at')} at_s, f.forecast, f.model_name, f.model_version,"
        f" {seconds('f.scored_at')} scored_s, m.requests, {seconds(following)} following_s"
        f" FROM forecasts f LEFT JOIN minutes m ON f.minute_at = m.minute_at WHERE {within('f.minute_at', period)}),"
        " joined AS (SELECT *, CASE WHEN requests IS NOT NULL THEN requests"
        f" WHEN following_s - at_s <= {SILENCE_S} THEN 0 END actual FROM side_by_side)"
    )
    bucket = bucket_sql(period, "at_s", 0)
    points = lake.rows(
        f"{joined} SELECT {bucket} bucket_s, avg(forecast) forecast, avg(actual) actual FROM joined GROUP BY 1", tables
    )
    models = lake.rows(
        f"{joined} SELECT model_name name, model_version version, count(actual) minutes,"
        " avg(abs(forecast - actual)) mean_absolute_error, avg(actual) mean_actual, max(scored_s) scored_at_s"
        " FROM joined GROUP BY 1, 2 ORDER BY version DESC, name",
        tables,
    )
    by_bucket = {row["bucket_s"]: row for row in points}
    edges = bucket_starts(period)
    return {
        "at_s": edges,
        "forecast": [by_bucket[t]["forecast"] if t in by_bucket else None for t in edges],
        "actual": [by_bucket[t]["actual"] if t in by_bucket else None for t in edges],
        "models": [{**model, "name": printable_text(model["name"], NAME_LIMIT)} for model in models],
    }
