"""One line of a results file: JSON with a checksum as its last field.

``crc32`` is that of the line's bytes before ``,"crc32"``: whichever bit flips, `decode` finds it.
Parsing is strict, as files come from anywhere: no NaN, no key twice, no bottomless nesting.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

MAX_DEPTH = 64
_NESTING = frozenset((dict, list))
_TAIL = re.compile(rb',"crc32":"([0-9a-f]{8})"\}')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_TAIL_LENGTH = len(b',"crc32":"00000000"}')


def encode(kind: str, fields: dict[str, Any]) -> bytes:
    """Return one line with its checksum and newline."""
    body = json.dumps({"kind": kind, **fields}, separators=(",", ":"), allow_nan=False)[
        :-1
    ].encode()
    return b'%s,"crc32":"%08x"}\n' % (body, zlib.crc32(body))


def decode(line: bytes) -> dict[str, Any]:
    """Return a line's fields without the checksum; ``line`` has no newline. ValueError if bad."""
    tail = _TAIL.fullmatch(line, max(0, len(line) - _TAIL_LENGTH))
    if tail is None:
        raise ValueError("not a record with a checksum at its end")
    body = line[:-_TAIL_LENGTH]
    if zlib.crc32(body) != int(tail[1], 16):
        raise ValueError("checksum does not match")
    raw = _PARSER.decode((body + b"}").decode())
    if not isinstance(raw, dict):
        raise ValueError("not an object")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:  # else nothing can be nested so deep
        _check_depth(raw)
    if _SURROGATE.search(body) and _SURROGATES.search(json.dumps(raw, ensure_ascii=False)):
        raise ValueError("half a character (a lone surrogate) that no page could hold")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number here")


_PARSER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)


def _check_depth(value: Any, left: int = MAX_DEPTH) -> None:
    """Refuse what the parser took but nobody wants to walk; the parser itself ends near 1000."""
    if not left:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    items = value.values() if isinstance(value, dict) else value
    if _NESTING.isdisjoint(map(type, items)):
        return
    for item in items:
        if type(item) in _NESTING:
            inner = item.values() if type(item) is dict else item
            if left == 1 or not _NESTING.isdisjoint(map(type, inner)):
                _check_depth(item, left - 1)
