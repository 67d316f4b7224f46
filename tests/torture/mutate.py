"""Damage: what disks, editors and people do to files. Every mutation is a function of a random generator and bytes."""

from __future__ import annotations

import json
import re
from random import Random

STRANGE = (
    "", "0", "-1", "1e999", "-0.0", "NaN", "null", "true", "[]", "{}", '""', '"\\u0000"', '"../../x"', '"\\ud800"',
    "1000", "99999999999999999999", "0.1", '"done"', "[[[[[[]]]]]]", '"\x1b[2J"',
)  # fmt: skip


def damaged(random: Random, content: bytes) -> bytes:
    """Change bytes: flip, overwrite, cut, double, insert, zero, or cut off."""
    if not content:
        return bytes([random.randrange(256)])
    start = random.randrange(len(content))
    end = min(len(content), start + 1 + int(random.expovariate(1 / 16)))
    kinds = {
        "flip": lambda: _overwritten(content, start, bytes([content[start] ^ 1 << random.randrange(8)])),
        "overwrite": lambda: _overwritten(content, start, random.randbytes(end - start)),
        "cut": lambda: content[:start] + content[end:],
        "double": lambda: content[:end] + content[start:],
        "insert": lambda: content[:start] + random.randbytes(end - start) + content[start:],
        "zero": lambda: _overwritten(content, start, bytes(min(512, len(content) - start))),
        "cut off": lambda: content[:start],
    }
    return kinds[random.choice(list(kinds))]()


def edited(random: Random, content: bytes) -> bytes:
    """Change lines of text, or one value in them."""
    lines = content.split(b"\n")
    here, there = random.randrange(len(lines)), random.randrange(len(lines))
    kind = random.choice(["value", "value", "value", "key", "swap", "drop", "double"])
    if kind == "swap":
        lines[here], lines[there] = lines[there], lines[here]
    elif kind == "drop":
        del lines[here]
    elif kind == "double":
        lines.insert(there, lines[here])
    else:
        lines[here] = (_other_value if kind == "value" else _other_key)(random, lines[here])
    return b"\n".join(lines)


def _overwritten(content: bytes, start: int, new: bytes) -> bytes:
    return content[:start] + new + content[start + len(new) :]


def _other_value(random: Random, line: bytes) -> bytes:
    """Replace one number, text or word of a line of JSON or TOML."""
    values = list(re.finditer(rb'-?\d+(?:\.\d+)?(?:e-?\d+)?|"[^"\n]*"|\b(?:true|false|null)\b', line))
    if not values:
        return random.choice(STRANGE).encode() + line
    value = random.choice(values)
    other = random.choice([*STRANGE, value[0].decode(errors="replace")[::-1], str(random.random())])
    return line[: value.start()] + other.encode() + line[value.end() :]


def _other_key(random: Random, line: bytes) -> bytes:
    """Drop, rename or copy one key of a JSON object, or double a letter of what is none."""
    try:
        record = json.loads(line)
        key = random.choice(list(record))
    except (ValueError, TypeError, IndexError):
        return damaged(random, line)
    value = record.pop(key)
    if random.random() < 0.5:
        record[random.choice([key + "_", *record])] = value
    return json.dumps(record, separators=(",", ":")).encode()
