"""Client hosts replaced by a keyed hash: one host, one pseudonym, and nobody without the key can tell which."""

import hashlib
import hmac

from pyspark.sql import Column
from pyspark.sql import functions as F

_BLOCK = 64
#: 16 hex digits: 2.6e9 hosts until two are expected to share one.
_DIGITS = 16


def pseudonym(host: str, key: bytes) -> str:
    """``h-`` and the first 16 hex digits of HMAC-SHA-256 (RFC 2104) of the host in lower case."""
    return "h-" + hmac.new(key, host.lower().encode(), hashlib.sha256).hexdigest()[:_DIGITS]


def replace_host(line: Column, key: bytes) -> Column:
    """``line`` (binary) with its first word replaced by its pseudonym; a line of one word is replaced whole.

    The quote that some collectors put around a line is not a part of the host.
    """
    text = line.cast("string")
    quote = F.when(F.startswith(text, F.lit('"')), '"').otherwise("")
    bare = F.substr(text, F.length(quote) + 1)
    word = F.substring_index(bare, " ", 1)
    rest = F.substr(bare, F.length(word) + 1)
    padded = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner, outer = (F.lit(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))
    digest = F.sha2(F.concat(outer, F.unhex(F.sha2(F.concat(inner, F.lower(word).cast("binary")), 256))), 256)
    return F.concat(quote, F.lit("h-"), F.substr(digest, F.lit(1), F.lit(_DIGITS)), rest).cast("binary")
