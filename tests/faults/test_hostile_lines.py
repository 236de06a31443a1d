"""Lines that have killed log parsers, through replayer, broker and stream: each is kept or quarantined, and why."""

from __future__ import annotations

import pytest

from tests.faults import truth
from tests.kafka_broker import REPOSITORY
from tests.replayed import MIB, lines_of

pytestmark = [pytest.mark.kafka, pytest.mark.spark]


def line(request, *, host=b"a.example", time=b"09/Jul/1995:00:00:07 -0400", tail=b"200 1"):
    return host + b" - - [" + time + b'] "' + request + b'" ' + tail


PLAIN = b"GET / HTTP/1.0"
#: Line, and its flags: these are kept.
KEPT = {
    line(PLAIN): [],
    line(b"GET /\xff\xfe\x80 HTTP/1.0"): ["utf8_repaired"],
    line(b"GET /a\x00b HTTP/1.0"): [],
    line(PLAIN) + b"\r": [],
    line(b"GET /" + b'\\"' * 4000 + b" HTTP/1.0"): ["inner_quote"],
    line(b"GET / HTTP/1.0", tail=b'200 1 "-" "' + b'\\"' * 4000 + b'"'): [],
    line(rb"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", tail=b"400 226"): ["tls_request"],
    line(b"\x16\x03\x01\x02", tail=b"400 226"): ["tls_request"],
    line(PLAIN, time=b"09/Jul/2095:00:00:07 -0400"): ["future_time"],
    line(PLAIN, time=b"01/Jan/1970:00:00:00 +0000"): ["ancient_time"],
    line(b"-", tail=b"408 -"): ["empty_request"],
    line(b""): ["empty_request"],
    line(b"quit"): ["no_protocol", "odd_method"],
    line(b"GET /<script>alert('x')</script>?q=%00%0d%0a HTTP/1.1"): [],
    line(b"GET /${jndi:ldap://x/a} HTTP/9.9"): ["odd_protocol"],
    line("GET /\u202e\U0001f4a9 HTTP/1.1".encode()): [],
    line(PLAIN, host=b"\xc3\x9f.EXAMPLE"): [],
}
#: Line, and its reason: these are quarantined.
REFUSED = truth.REFUSED | {
    b"\r": "empty",
    b"   \t ": "no_request",
    b"\x00": "no_request",
    b"\x00" * 1000: "no_request",
    b"\xff" * 1000: "no_request",
    b'"' * 4000: "no_request",
    b"[" * 4000: "no_request",
    line(b"GET /" + b"a" * 20_000 + b" HTTP/1.0"): "too_long",
    b"x" * MIB: "too_long",
    line(b"GET /" + b"b" * (MIB + MIB // 2) + b" HTTP/1.0"): "too_long",
    line(PLAIN, tail=b"200 " + b"9" * 30): "bad_bytes",
    line(PLAIN, tail=b"200 -5"): "bad_bytes",
    line(PLAIN, tail=b"99999999999 5"): "bad_status",
    line(PLAIN, time=b"31/Feb/1995:00:00:07 -0400"): "bad_time",
    line(PLAIN, time=b"09/Jul/1995:25:00:07 -0400"): "bad_time",
    line(PLAIN, time=b""): "bad_time",
    line(PLAIN, time=b"31/Dec/9999:23:59:59 +0000"): "bad_time",
    line(PLAIN, time=b"01/Jan/0001:00:00:00 +0000"): "bad_time",
    line(PLAIN, time=b"01/Jan/0000:00:00:00 +0000"): "bad_time",
    line(PLAIN, host=b""): "no_host",
    line(PLAIN, host=b"h" * 300): "rule:host_has_a_length",
    line(PLAIN, tail=b"200 9000000000000000"): "rule:bytes_are_plausible",
}


SCANNER = REPOSITORY.parent / "shared" / "data" / "other_access_logs" / "scan_w3af_first500_quoted.log"


def test_every_hostile_line_is_kept_with_its_flags_or_quarantined_with_its_reason(lab):
    hostile = [*KEPT, *REFUSED]
    source = lab.replay(b"\n".join(hostile) + b"\n", "hostile.log")
    # Attacks of a security scanner, where the file is at hand: each line is wrapped in one more pair of quotes.
    scanned = SCANNER.read_bytes() if SCANNER.exists() else b""
    scanner = lab.replay(scanned, "scanner.log") if scanned else None
    lab.drain()
    lake = lab.state / "lake"
    of = {each.offset: hostile[number] for number, each in enumerate(lines_of(lab.logs[source]))}
    silver = truth.rows(lake / "silver" / "access_log", ["source", "byte_offset", "flags"])
    quarantine = truth.rows(lake / "quarantine" / "access_log", ["source", "byte_offset", "reason"])
    found = {of[at]: what for name, at, what in silver + quarantine if name == source}
    assert len([1 for name, *_ in silver + quarantine if name == source]) == len(hostile)
    assert found == KEPT | REFUSED
    bronze = truth.rows(lake / "bronze" / "access_log", ["source", "byte_offset", "line", "was_cut"])
    raw = sorted(row[1:] for row in bronze if row[0] == source)
    assert raw == [(at, whole[:MIB], len(whole) > MIB) for at, whole in sorted(of.items())]

    kept = [(at, flags) for name, at, flags in silver if name == scanner]
    assert sorted(at for at, _ in kept) == [each.offset for each in lines_of(scanned)]
    assert all("wrapped_in_quotes" in flags for _, flags in kept)
