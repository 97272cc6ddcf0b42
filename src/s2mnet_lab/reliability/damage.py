"""Damage to files: flipped bits, cuts, splices, extreme header fields, and texts that parsers stumble over."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_TEXTS = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-1", b"null", b"true", b"[" * 3000, b"{" * 3000, b"&a [*a, *a]",
    b"*a", b"2020-02-30", b"\0", b"\xff\xfe", b"../../x", b"=1+1", b"\x1b[2J", b"\xed\xa0\x80", b"!!python/name:os",
    b"? ", b"\r", b"x" * 100_000,
)  # fmt: skip
_HEAD = 600  # bytes


def damaged(content: bytes, others: Sequence[bytes], choice: random.Random) -> bytes:
    """A mutant of a file.

    Args:
        content: of the whole file.
        others: whole files of the same kind, for splices.
        choice: decides on everything.
    """
    for _ in range(choice.choice((1, 1, 1, 2, 3))):
        content = choice.choice((_bits, _values, _numbers, _texts, _cut, _moved, _spliced))(content, others, choice)
    return content


def _place(content: bytes, choice: random.Random) -> int:
    """Headers are where it matters."""
    reach = min(len(content), _HEAD) if choice.random() < 0.7 else len(content)
    return choice.randrange(reach) if reach else 0


def _bits(content: bytes, others: Sequence[bytes], choice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(choice.choice((1, 2, 8, 64)) if content else 0):
        changed[_place(content, choice)] ^= 1 << choice.randrange(8)
    return bytes(changed)


def _values(content: bytes, others: Sequence[bytes], choice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(choice.choice((1, 4, 16)) if content else 0):
        changed[_place(content, choice)] = choice.choice((0, 127, 128, 255, choice.randrange(256)))
    return bytes(changed)


def _numbers(content: bytes, others: Sequence[bytes], choice: random.Random) -> bytes:
    form = choice.choice("<>") + choice.choice("HIQ")
    place, size = _place(content, choice), struct.calcsize(form)
    number = struct.pack(form, choice.choice(_NUMBERS) % 2 ** (8 * size))
    return content[:place] + number + content[place + size :]


def _texts(content: bytes, others: Sequence[bytes], choice: random.Random) -> bytes:
    place, text = _place(content, choice), choice.choice(_TEXTS)
    return content[:place] + text + content[place + choice.choice((0, 1, len(text))) :]


def _cut(content: bytes, others: Sequence[bytes], choice: random.Random) -> bytes:
    return content[: choice.choice((0, 1, _place(content, choice), max(0, len(content) - choice.randrange(1, 9))))]


def _moved(content: bytes, others: Sequence[bytes], choice: random.Random) -> bytes:
    start, length, to = _place(content, choice), choice.choice((1, 4, 30, 500)), _place(content, choice)
    part, rest = content[start : start + length], content
    if choice.random() < 0.5:
        rest = content[:start] + content[start + length :]
    return rest[:to] + part + rest[to:]


def _spliced(content: bytes, others: Sequence[bytes], choice: random.Random) -> bytes:
    other = choice.choice(others)
    return content[: _place(content, choice)] + other[_place(other, choice) :]
