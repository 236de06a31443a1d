"""Print the access log of a vulnerability scanner, to drift a champion on purpose.

    python benchmarks/scanner_attack.py --from 1995-07-09T12:00:00-04:00 --minutes 660 > attack.log

Made, not recorded: the same arguments print the same lines. It asks for files that nobody has, at a rate that swings
around ``--per-minute``, from a handful of addresses, as the scanners in public samples do.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

PATHS = (
    "/.env", "/.git/config", "/admin/", "/administrator/index.php", "/backup.zip", "/cgi-bin/test-cgi", "/config.bak",
    "/phpmyadmin/index.php", "/server-status", "/shell.php", "/wp-login.php", "/xmlrpc.php",
)  # fmt: skip
HOSTS = tuple(f"198.51.100.{n}" for n in (7, 23, 42))
AGENT = "scanner/1.0 (made for tests)"


def lines(start: datetime, minutes: int, per_minute: float, seed: int) -> Iterator[str]:
    """One line of the Combined Log Format after the other, in the order of time."""
    random = np.random.default_rng(seed)
    for minute in range(minutes):
        rate = per_minute * (1 + 0.3 * np.sin(minute / 37))
        for second in np.sort(random.integers(0, 60, random.poisson(rate))):
            at = start + timedelta(minutes=minute, seconds=int(second))
            path, host = PATHS[random.integers(len(PATHS))], HOSTS[random.integers(len(HOSTS))]
            status, size = (404, 209) if random.random() < 0.97 else (403, 199)
            stamp = f"{at:%d/%b/%Y:%H:%M:%S %z}"
            yield f'{host} - - [{stamp}] "GET {path} HTTP/1.1" {status} {size} "-" "{AGENT}"'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="start", type=datetime.fromisoformat, required=True, metavar="INSTANT")
    parser.add_argument("--minutes", type=int, default=660)
    parser.add_argument("--per-minute", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    if args.start.tzinfo is None or args.minutes < 1 or args.per_minute <= 0:
        parser.error("required: an instant with its offset from UTC, minutes of 1 or more, and a rate above 0")
    sys.stdout.writelines(f"{line}\n" for line in lines(args.start, args.minutes, args.per_minute, args.seed))


if __name__ == "__main__":
    main()
