"""Every dataset of the lake. One noun per table, ``layer.subject``."""

from contracts.errors import ConfigurationError
from contracts.landed_files import LANDED
from contracts.schema import Column, Dataset


def _column(name: str, type_: str, about: str, *, nullable: bool = True) -> Column:
    return Column(name=name, type=type_, about=about, nullable=nullable)


_WHERE_FROM = (
    _column("topic_id", "string", "Kafka's id of the topic: a recreated topic has another one", nullable=False),
    _column("kafka_partition", "int", "Kafka partition", nullable=False),
    _column("kafka_offset", "bigint", "offset in the Kafka partition", nullable=False),
    _column("kafka_at", "timestamp", "when the broker appended the record, UTC", nullable=False),
    _column("arrived_on", "date", "UTC day of kafka_at", nullable=False),
    _column("source", "string", "id of the log file: fingerprint and generation; null for foreign producers"),
    _column("byte_offset", "bigint", "first byte of the line in its source; null for foreign producers"),
)
_RECORD_KEY = ("topic_id", "kafka_partition", "kafka_offset")

#: A checkpoint of Delta's log takes as long as a micro-batch; every tenth commit, the default, is every half minute.
_RARE_CHECKPOINTS = "50"

BRONZE_ACCESS_LOG = Dataset(
    name="bronze.access_log",
    about="One row per Kafka record as it arrived, redeliveries included and marked.",
    key=_RECORD_KEY,
    partitioned_by=("arrived_on",),
    columns=(
        *_WHERE_FROM,
        _column(
            "byte_length",
            "bigint",
            "bytes of the whole line in its source, line end included; null for foreign producers",
        ),
        _column("is_duplicate", "boolean", "the same bytes of the same source arrived before", nullable=False),
        _column(
            "was_cut", "boolean", "the line was longer than a record may be; line holds its beginning", nullable=False
        ),
        _column("line_sha256", "string", "hex SHA-256 of the whole line where it was cut"),
        _column("line", "binary", "the bytes of the line without its line end"),
    ),
    # No statistics on raw bytes; nothing is ever looked up by them.
    properties={
        "delta.checkpointInterval": _RARE_CHECKPOINTS,
        "delta.dataSkippingStatsColumns": "topic_id,kafka_partition,kafka_offset,kafka_at,source,byte_offset",
    },
)

SILVER_ACCESS_LOG = Dataset(
    name="silver.access_log",
    about="One row per readable request: parsed, typed, each line of each source once.",
    key=_RECORD_KEY,
    partitioned_by=("arrived_on",),
    columns=(
        *_WHERE_FROM,
        _column("requested_at", "timestamp", "when the server says it was asked, UTC", nullable=False),
        _column("utc_offset_min", "int", "the log's own time zone, minutes east of UTC", nullable=False),
        _column(
            "requested_local", "timestamp", "requested_at plus utc_offset_min: the log's wall clock", nullable=False
        ),
        _column("host", "string", "client name or address in lower case, or its pseudonym", nullable=False),
        _column("ident", "string", "RFC 1413 identity; null for -"),
        _column("user_name", "string", "authenticated user; null for -"),
        _column("request", "string", "the request line as logged", nullable=False),
        _column("method", "string", "HTTP method; null where the request line has none we know"),
        _column("path", "string", "requested resource with its query; null where it cannot be told"),
        _column("protocol", "string", "e.g. HTTP/1.0; null for HTTP/0.9 requests"),
        _column("status", "int", "HTTP status; null for -"),
        _column("bytes_sent", "bigint", "size of the response body; null (unknown) for -"),
        _column("referrer", "string", "Combined format only; null for -"),
        _column("user_agent", "string", "Combined format only; null for -"),
        _column("format", "string", "common or combined", nullable=False),
        _column("flags", "array<string>", "what was odd about the line; empty for most", nullable=False),
        _column("parser_version", "int", "version of the parser that made this row", nullable=False),
    ),
    properties={
        "delta.enableChangeDataFeed": "true",
        "delta.checkpointInterval": _RARE_CHECKPOINTS,
        # Not host: the log keeps statistics of files that are gone, and an erased name must not live on there.
        "delta.dataSkippingStatsColumns": ("kafka_partition,kafka_offset,kafka_at,source,requested_at,requested_local"),
    },
)

QUARANTINE_ACCESS_LOG = Dataset(
    name="quarantine.access_log",
    about="Lines that could not be read, or that broke a rule marked on_fail: quarantine, with the reason.",
    key=_RECORD_KEY,
    partitioned_by=("arrived_on",),
    columns=(
        *_WHERE_FROM,
        _column("reason", "string", "why: a reason code of the parser, or rule:<id>", nullable=False),
        _column("parser_version", "int", "version of the parser that refused it", nullable=False),
        _column("line", "binary", "the bytes of the line"),
    ),
    properties={"delta.dataSkippingStatsColumns": "topic_id,kafka_partition,kafka_offset,kafka_at,reason"},
)

#: Gold is replaced every few seconds; its old files are of no use to anybody for long.
_SHORT_HISTORY = {
    "delta.deletedFileRetentionDuration": "interval 1 hours",
    "delta.logRetentionDuration": "interval 1 days",
}


GOLD_ACCESS_LOG_1M = Dataset(
    name="gold.access_log_1m",
    about="Requests of each minute of event time that has any.",
    properties=_SHORT_HISTORY,
    key=("minute_at",),
    columns=(
        _column("minute_at", "timestamp", "start of the minute of event time, UTC", nullable=False),
        _column("requests", "bigint", "requests", nullable=False),
        _column("bytes_sent", "bigint", "sum of known response sizes", nullable=False),
        _column("distinct_hosts", "bigint", "exact count of client hosts", nullable=False),
        _column("status_2xx", "bigint", "requests answered 200-299", nullable=False),
        _column("status_3xx", "bigint", "requests answered 300-399", nullable=False),
        _column("status_4xx", "bigint", "requests answered 400-499", nullable=False),
        _column("status_5xx", "bigint", "requests answered 500-599", nullable=False),
        _column("status_other", "bigint", "requests with another status or none", nullable=False),
        _column("method_get", "bigint", "GET requests", nullable=False),
        _column("method_head", "bigint", "HEAD requests", nullable=False),
        _column("method_post", "bigint", "POST requests", nullable=False),
        _column("method_other", "bigint", "requests with another method or none", nullable=False),
        _column("errors_get", "bigint", "GET requests answered 400 or above", nullable=False),
        _column("errors_head", "bigint", "HEAD requests answered 400 or above", nullable=False),
        _column("errors_post", "bigint", "POST requests answered 400 or above", nullable=False),
        _column("errors_other", "bigint", "other requests answered 400 or above", nullable=False),
    ),
)

GOLD_ACCESS_LOG_HOURLY = Dataset(
    name="gold.access_log_hourly",
    about="Requests by hour, weekday and day in the log's own time zone: the heat map.",
    properties=_SHORT_HISTORY,
    key=("local_day", "hour"),
    columns=(
        _column("local_day", "date", "day in the log's own time zone", nullable=False),
        _column("weekday", "int", "1 Monday to 7 Sunday", nullable=False),
        _column("hour", "int", "0 to 23 in the log's own time zone", nullable=False),
        _column("requests", "bigint", "requests", nullable=False),
        _column("bytes_sent", "bigint", "sum of known response sizes", nullable=False),
        _column("errors", "bigint", "requests answered 400 or above", nullable=False),
    ),
)

GOLD_RESOURCE_POPULARITY = Dataset(
    name="gold.resource_popularity",
    about="Requests of each resource on each day of the log's own time zone.",
    properties=_SHORT_HISTORY,
    key=("local_day", "path"),
    columns=(
        _column("local_day", "date", "day in the log's own time zone", nullable=False),
        _column(
            "path", "string", "requested resource without its query; (none) where it cannot be told", nullable=False
        ),
        _column("requests", "bigint", "requests", nullable=False),
        _column("bytes_sent", "bigint", "sum of known response sizes", nullable=False),
        _column("errors", "bigint", "requests answered 400 or above", nullable=False),
    ),
)

GOLD_SESSIONS = Dataset(
    name="gold.sessions",
    about="Requests of one host with no silence longer than 30 minutes between them.",
    properties=_SHORT_HISTORY | {"delta.dataSkippingStatsColumns": "started_at,ended_at"},
    key=("host", "started_at"),
    columns=(
        _column("host", "string", "client name, address or pseudonym", nullable=False),
        _column("started_at", "timestamp", "first request, UTC", nullable=False),
        _column("ended_at", "timestamp", "last request, UTC", nullable=False),
        _column("duration_s", "bigint", "seconds from the first to the last request", nullable=False),
        _column("requests", "bigint", "requests", nullable=False),
        _column("bytes_sent", "bigint", "sum of known response sizes", nullable=False),
        _column("errors", "bigint", "requests answered 400 or above", nullable=False),
        _column("entry_path", "string", "first resource; ties by Kafka partition and offset"),
        _column("exit_path", "string", "last resource; ties by Kafka partition and offset"),
    ),
)

GOLD_ACCESS_LOG_VOLUME_FORECAST = Dataset(
    name="gold.access_log_volume_forecast",
    about="Forecast requests of a minute, made from the minutes before it by the champion model.",
    key=("minute_at",),
    columns=(
        _column("minute_at", "timestamp", "start of the minute that is forecast, UTC", nullable=False),
        _column("forecast", "double", "expected requests in that minute", nullable=False),
        _column("model_name", "string", "registered model", nullable=False),
        _column("model_version", "int", "its version", nullable=False),
        _column("scored_at", "timestamp", "when the forecast was made, UTC", nullable=False),
    ),
)

#: Tables that the streaming application writes from silver; order is the order of their commits.
GOLD_OF_ACCESS_LOG = (GOLD_ACCESS_LOG_1M, GOLD_ACCESS_LOG_HOURLY, GOLD_RESOURCE_POPULARITY, GOLD_SESSIONS)

#: Tables that a log becomes, top to bottom.
OF_ACCESS_LOG = (
    BRONZE_ACCESS_LOG,
    SILVER_ACCESS_LOG,
    QUARANTINE_ACCESS_LOG,
    *GOLD_OF_ACCESS_LOG,
    GOLD_ACCESS_LOG_VOLUME_FORECAST,
)
#: Tables that landed files become.
OF_LANDED_FILES = tuple(table for each in LANDED.values() for table in (each.bronze, each.quarantine))

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (*OF_ACCESS_LOG, *OF_LANDED_FILES)}


def dataset(name: str) -> Dataset:
    """The dataset of that name; an unknown one is a ConfigurationError that lists the known ones."""
    if name not in DATASETS:
        raise ConfigurationError(
            "Looking up a dataset",
            found=repr(name),
            required="one of " + ", ".join(sorted(DATASETS)),
            next_step="Correct the name, or add the dataset to contracts/datasets.py.",
        )
    return DATASETS[name]
