"""Raw access-log lines to typed requests: the one parser of batch and stream, JVM expressions only.

Reads the Common and the Combined log format. A line is refused (``reason`` is set) only when it cannot be read at all;
a request line that makes no sense is kept and flagged, because odd requests are what people look for in a log.

The fast path splits at quotes; lines that have quotes inside a field go to one possessive regular expression. (A
backtracking one such as ``"(?:\\\\.|[^"\\\\])*"`` overflows the JVM's stack on 4,000 escaped quotes.)
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_apps.transforms.projections import Projections, recorded

PARSER_VERSION = 1

#: Longer lines are refused unread: no browser sends them, and every expression below is linear in their length.
MAX_LINE_BYTES = 16 * 1024

#: RFC 9110 and RFC 5789, WebDAV's (RFC 4918), and what proxies and 1995 servers log.
METHODS = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "LINK", "UNLINK",
    "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT", "PURGE",
)  # fmt: skip
PROTOCOLS = ("HTTP/0.9", "HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/2.0", "HTTP/3", "HTTP/3.0")

#: Why a line is refused, in the order in which the rules are tried.
REASONS = ("too_long", "empty", "tls_bytes", "no_request", "bad_time", "bad_status", "bad_bytes", "no_host")

_CLOCK = "dd/MMM/yyyy:HH:mm:ss"
#: host, identity and user, time, request, status, bytes, whatever follows. No nested or lazy repetition.
_SLOW = (
    r'^(\S++) ([^\[]*+)\[([^\]]++)\] "((?:[^"\\]++|\\.)*+)" (\S++) (\S++)'
    r'(?: "((?:[^"\\]++|\\.)*+)" "((?:[^"\\]++|\\.)*+)")?+(.*+)$'
)
_QUOTE = '"'
#: Before this no web server logged anything (the first public one answered in 1991).
_FIRST_LOG = "1991-01-01"
#: A day more or less must stay within what Python's datetime can hold: years 1 to 9999.
_YEARS = (2, 9998)


@recorded
def parse(lines: Projections) -> Projections:
    """Parse ``line`` (binary); other columns pass through, ``kafka_at`` is needed to tell future times.

    Adds the columns of ``silver.access_log`` from ``requested_at`` on, and ``reason``: null for a readable line, else
    one of REASONS. The columns of a refused line are undefined.
    """
    return _typed(_split_request(_split_line(_text(lines))))


def _text(lines: Projections) -> Projections:
    size = F.octet_length("line")
    is_long = size > MAX_LINE_BYTES
    # A long line is never decoded; a carriage return belongs to the line end.
    decoded = F.when(is_long, F.lit("")).otherwise(F.col("line").cast("string"))
    return (
        lines.select("*", is_long.alias("_long"), decoded.alias("_decoded"))
        .select("*", F.is_valid_utf8("_decoded").alias("_valid"))
        .select(
            "*", F.when(F.col("_valid"), F.col("_decoded")).otherwise(F.make_valid_utf8("_decoded")).alias("_clean")
        )
        .select(
            "*",
            F.when(F.endswith("_clean", F.lit("\r")), F.regexp_replace("_clean", "\r++$", ""))
            .otherwise(F.col("_clean"))
            .alias("_line"),
        )
        .select("*", F.startswith("_line", F.lit(_QUOTE)).alias("_wrapped"))
        .withColumn(
            "_line", F.when(F.col("_wrapped"), F.regexp_replace("_line", '^"|"$', "")).otherwise(F.col("_line"))
        )
        .drop("_decoded", "_clean")
    )


def _split_line(lines: Projections) -> Projections:
    """Cut the line into ``_prefix`` (up to the time), ``_request``, ``_tail`` (status and bytes), referrer and agent.

    A line with two quotes (Common) or six (Combined) is split at them; any other has quotes inside a field. Two are cut
    at by searching bytes, which costs a fraction of a split into Java strings.
    """
    parts = F.col("_quoted")
    combined = (F.size(parts) == 7) & (F.get(parts, F.lit(4)) == " ") & (F.get(parts, F.lit(6)) == "")
    two_words = F.substring_index("_tail", " ", 2) == F.col("_tail")
    fits = F.endswith("_prefix", F.lit("] ")) & (F.col("_common") | F.col("_combined")) & two_words
    split = (
        lines.select(
            "*",
            F.substring_index("_line", _QUOTE, 1).alias("_prefix"),
            _second("_line", _QUOTE).alias("_between"),
            F.substring_index("_line", _QUOTE, -1).alias("_after"),
        )
        .select("*", _is_all_of("_line", "_prefix", "_between", "_after").alias("_common"))
        .select("*", F.when(~F.col("_common"), F.split("_line", _QUOTE)).alias("_quoted"))
        .select(
            "*",
            F.coalesce(combined, F.lit(False)).alias("_combined"),  # noqa: FBT003 - a Spark literal
            F.when(F.col("_common"), F.col("_between")).otherwise(F.get(parts, F.lit(1))).alias("_request"),
            F.trim(F.when(F.col("_common"), F.col("_after")).otherwise(F.get(parts, F.lit(2)))).alias("_tail"),
        )
        .select("*", F.when(F.col("_combined"), F.get(parts, F.lit(3))).alias("_referrer"))
        .select("*", F.when(F.col("_combined"), F.get(parts, F.lit(5))).alias("_agent"), fits.alias("_fits"))
    )
    return _with_slow_path(split)


def _second(name: str, separator: str) -> Column:
    """What stands between the first and the second separator, or behind the only one, or everything."""
    return F.substring_index(F.substring_index(name, separator, 2), separator, -1)


def _is_all_of(name: str, first: str, second: str, last: str) -> Column:
    """Whether the text has exactly two separators (of one byte): then its three parts and they are all of it."""
    parts = F.octet_length(first) + F.octet_length(second) + F.octet_length(last)
    return parts + 2 == F.octet_length(name)


def _with_slow_path(split: Projections) -> Projections:
    """Lines that could not be cut at quotes are matched once against the full pattern."""
    separator = "\u0001"
    # Only a match puts the separator first, so a hostile line that contains it cannot pass for one.
    replaced = F.regexp_replace("_line", _SLOW, separator + separator.join(f"${n}" for n in range(1, 10)))
    matched = F.when(~F.col("_fits"), F.split(replaced, separator, 10))

    def part(number: int) -> Column:
        return F.get("_matched", F.lit(number))

    def pick(name: str, otherwise: Column) -> Column:
        return F.when(F.col("_fits"), F.col(name)).otherwise(otherwise)

    return (
        split.select("*", matched.alias("_matched"))
        .select("*", (F.col("_fits") | F.coalesce(F.size("_matched") == 10, F.lit(False))).alias("_readable"))  # noqa: FBT003 - a Spark literal
        .withColumns(
            {
                "_prefix": pick("_prefix", F.concat(part(1), F.lit(" "), part(2), F.lit("["), part(3), F.lit("] "))),
                "_request": pick("_request", part(4)),
                "_tail": pick("_tail", F.concat_ws(" ", part(5), part(6))),
                "_referrer": pick("_referrer", part(7)),
                "_agent": pick("_agent", part(8)),
                "_extra": F.when(~F.col("_fits"), part(9)),
            }
        )
    )


def _split_request(lines: Projections) -> Projections:
    """Cut ``_request`` into method, path and protocol; none of them is required."""
    has_spaces = F.octet_length("_word") < F.octet_length("_request")
    return (
        lines.select(
            "*",
            F.substring_index("_request", " ", 1).alias("_word"),
            _second("_request", " ").alias("_middle"),
            F.substring_index("_request", " ", -1).alias("_last"),
        )
        .select(
            "*",
            _is_all_of("_request", "_word", "_middle", "_last").alias("_three"),
            F.col("_word").isin(*METHODS).alias("_known"),
            (F.startswith("_last", F.lit("HTTP/")) & has_spaces).alias("_has_protocol"),
        )
        .select("*", (F.col("_three") & F.col("_known") & F.col("_has_protocol")).alias("_plain"))
        .select(
            "*",
            F.when(F.col("_known"), F.col("_word")).alias("method"),
            F.when(F.col("_plain"), F.col("_middle")).otherwise(_odd_path()).alias("path"),
            F.when(F.col("_has_protocol"), F.col("_last")).alias("protocol"),
        )
    )


def _odd_path() -> Column:
    """What is left of a request without method and protocol. Without either, nothing says which part is the path."""
    start = F.when(F.col("_known"), F.length("_word") + 2).otherwise(F.lit(1))
    end = F.length("_request") + 1 - F.when(F.col("_has_protocol"), F.length("_last") + 1).otherwise(F.lit(0))
    middle = F.substr("_request", start, F.greatest(end - start, F.lit(0)))
    return F.when(F.col("_known") | F.col("_has_protocol"), F.nullif(F.trim(middle), F.lit("")))


def _typed(lines: Projections) -> Projections:
    names = F.substr("_prefix", F.length("_first") + 2)
    status, size = F.substring_index("_tail", " ", 1), F.substring_index("_tail", " ", -1)
    typed = (
        _with_time(lines)
        .select(
            "*",
            F.substring_index("_prefix", " ", 1).alias("_first"),
            status.alias("_status"),
            size.alias("_size"),
        )
        .select(
            "*",
            F.lower("_first").alias("host"),
            # Nearly every line says "- -": no need to take it apart.
            F.when(~F.contains("_prefix", F.lit(" - - [")), F.substring_index(names, " [", 1)).alias("_who"),
            F.when(F.col("_status") != "-", F.col("_status").try_cast("int")).alias("status"),
            F.when(F.col("_size") != "-", F.col("_size").try_cast("bigint")).alias("bytes_sent"),
        )
        .select(
            "*",
            F.substring_index("_who", " ", 1).alias("_ident"),
            F.substr("_who", F.length(F.substring_index("_who", " ", 1)) + 2).alias("_user"),
        )
    )
    passed = [name for name in lines.columns if not name.startswith("_")]
    return typed.select(
        *passed,
        "requested_at",
        "utc_offset_min",
        "requested_local",
        "host",
        _unless_dash("_ident").alias("ident"),
        _unless_dash("_user").alias("user_name"),
        F.col("_request").alias("request"),
        "method",
        "path",
        "protocol",
        "status",
        "bytes_sent",
        _unless_dash("_referrer").alias("referrer"),
        _unless_dash("_agent").alias("user_agent"),
        F.when(F.col("_agent") != "", F.lit("combined")).otherwise(F.lit("common")).alias("format"),
        _flags().alias("flags"),
        F.lit(PARSER_VERSION).alias("parser_version"),
        _reason().alias("reason"),
    )


def _with_time(lines: Projections) -> Projections:
    """``requested_at``, ``requested_local`` and ``utc_offset_min`` from ``[09/Jul/1995:00:00:07 -0400]``.

    The wall clock is read by a cast of its ISO form, three times as fast as a pattern; what the cast cannot read, such
    as a month in capitals, goes to the pattern.
    """
    time = F.substring_index(F.substring_index("_prefix", "[", -1), "]", 1)
    number = F.instr(F.lit("JanFebMarAprMayJunJulAugSepOctNovDec"), F.substr("_time", F.lit(4), F.lit(3)))
    # Position 1, 4, 7, ... is a month, any other is three letters that happen to stand there, or none (0).
    months = F.array(*[F.lit(f"-{n:02d}-") for n in range(1, 13)])
    month = F.when(F.col("_month") % 3 == 1, F.get(months, F.floor(F.col("_month") / 3).cast("int")))
    iso = F.concat(
        F.substr("_time", F.lit(8), F.lit(4)), month, F.substr("_time", F.lit(1), F.lit(2)),
        F.lit(" "), F.substr("_time", F.lit(13), F.lit(8)),
    )  # fmt: skip
    clock = F.when(F.length("_time") == 26, iso.try_cast("timestamp"))
    by_pattern = F.try_to_timestamp(F.substring_index("_time", " ", 1), F.lit(_CLOCK))
    zone = F.substring_index("_time", " ", -1)
    hours, minutes = (
        F.substr("_zone", F.lit(2), F.lit(2)).try_cast("int"),
        F.substr("_zone", F.lit(4), F.lit(2)).try_cast("int"),
    )
    sign = F.when(F.startswith("_zone", F.lit("-")), -1).when(F.startswith("_zone", F.lit("+")), 1)
    offset = F.when(F.length("_zone") == 5, sign * (hours * 60 + minutes))
    return (
        lines.select("*", time.alias("_time"))
        .select("*", number.alias("_month"), zone.alias("_zone"))
        .select("*", F.coalesce(clock, by_pattern).alias("requested_local"), offset.alias("utc_offset_min"))
        .select(
            "*", F.timestamp_add("MINUTE", -F.col("utc_offset_min"), F.col("requested_local")).alias("requested_at")
        )
    )


def _unless_dash(name: str) -> Column:
    return F.when((F.col(name) != "-") & (F.col(name) != ""), F.col(name))


def _reason() -> Column:
    """First rule that the line breaks, null when it can be read."""
    tls = F.startswith("_line", F.lit("\u0016\u0003")) | F.startswith("_line", F.lit("\\x16\\x03"))
    # Never true, and not deterministic: a filter on `reason` must not be pushed down. Spark would substitute it through
    # some twenty projections, doubling it in each, and the driver would die of the expression (seen: 3 GB, no end).
    barrier = F.spark_partition_id() < 0
    return (
        F.when(barrier, "never")
        .when(F.col("_long"), "too_long")
        .when(F.trim("_line") == "", "empty")
        .when(tls, "tls_bytes")
        .when(~F.col("_readable"), "no_request")
        .when(F.col("requested_at").isNull() | F.col("utc_offset_min").isNull(), "bad_time")
        .when(~F.year("requested_local").between(*_YEARS), "bad_time")
        .when((F.col("_status") != "-") & F.col("status").isNull(), "bad_status")
        .when((F.col("_size") != "-") & (F.col("bytes_sent").isNull() | (F.col("bytes_sent") < 0)), "bad_bytes")
        .when(F.col("host") == "", "no_host")
    )


def _flags() -> Column:
    empty = F.col("_request").isin("-", "")
    tls = F.startswith("_request", F.lit("\u0016\u0003")) | F.startswith("_request", F.lit("\\x16\\x03"))
    spaced = F.col("path").contains(" ") | (F.col("_known") & F.rlike("_request", F.lit(r"\S\s{2}")))
    future = F.col("requested_at") > F.col("kafka_at") + F.expr("INTERVAL 10 MINUTES")
    ancient = F.col("requested_at") < F.lit(_FIRST_LOG).cast("timestamp")
    odd = {
        "no_protocol": ~F.col("_has_protocol") & ~empty & ~tls,
        "odd_protocol": F.col("_has_protocol") & ~F.col("_last").isin(*PROTOCOLS),
        "space_in_path": spaced,
        "odd_method": ~F.col("_known") & ~empty & ~tls,
        "empty_request": empty,
        "inner_quote": F.col("_request").contains(_QUOTE),
        "tls_request": tls,
        "utf8_repaired": ~F.col("_valid"),
        "wrapped_in_quotes": F.col("_wrapped"),
        "extra_fields": F.coalesce(F.trim("_extra"), F.lit("")) != "",
        "future_time": future,
        "ancient_time": ancient,
        "user_has_space": F.coalesce(F.col("_user").contains(" "), F.lit(False)),  # noqa: FBT003 - a Spark literal
    }
    array = F.array_compact(F.array(*[F.when(test, F.lit(flag)) for flag, test in odd.items()]))
    # Plain lines, nearly all, skip the list: known method and protocol, one word between, nothing repaired.
    plain = (
        F.col("_fits") & F.col("_plain") & F.col("_last").isin(*PROTOCOLS) & F.col("_valid") & ~F.col("_wrapped")
        & F.col("_who").isNull() & ~future & ~ancient
    )  # fmt: skip
    return F.when(plain, F.array().cast("array<string>")).otherwise(array)
