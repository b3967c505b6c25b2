"""Changes to graphs in JSON, as values and as text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz import examples, raw_bytes

TABLES = ("states", "edges", "param_edges", "start_edges", "start_param_edges", "constant_edges")
COUNTS = ("n_vertices", "state_length", "param_length")
FIELDS = (*TABLES, *COUNTS, "vertex_indices", "weight_mode", "dyn_ordering", "rewards")
FIELDS += ("parameter_names", "state_names")


class Raw(str):
    """Text that stands in the file as it is, whether JSON or not."""


class Object(list[tuple[Any, Any]]):
    """An object that may hold a name twice."""

    def names(self) -> list[Any]:
        return [name for name, _ in self]

    def get(self, name: str) -> Any:
        return next((value for key, value in self if key == name), None)

    def put(self, name: str, value: Any) -> None:
        """Replaces the first field of this name, or adds one."""
        names = self.names()
        if name in names:
            self[names.index(name)] = (name, value)
        else:
            self.append((name, value))


NOT_JSON = ("NaN", "-NaN", "Infinity", "-Infinity", "nan", "+1", ".5", "1.", "01", "0x10", "1e", "")
NUMBERS = ("1e400", "-1e400", "1e-400", "-0.0", "-0", "5e-324", "1.7976931348623157e308", "1e308")
NUMBERS += ("-1", "0", "1", "2", "3", "0.5", "-1e-300", "1.5", "2.0", "1e2", "2147483647")
NUMBERS += ("2147483648", "-2147483648", "-2147483649", "4294967295", "4294967297", "1e9")
NUMBERS += (
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
)
NUMBERS += ("18446744073709551616", "1" + "0" * 400, "9" * 5000, "0." + "3" * 5000)
OTHERS = ("true", "false", "null", '""', '"1"', '"NaN"', "[]", "{}", "[1]", "[[]]", '{"a": 1}')
OTHERS += (r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', '"\ud800"', r'"\q"', '"\t"')
NAMES = ("", "a b", "1a", "a" * 65, "ä", "\ud800", "\0", "edges", "theta", '"', "\\", "_", "A" * 64)


def render(value: Any) -> str:
    """JSON, with what is :class:`Raw` as it is."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, Object):
        return "{" + ",".join(f"{render(name)}:{render(item)}" for name, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(render, value)) + "]"
    return json.dumps(value)


def parse(text: bytes) -> Object:
    """A valid document as something to change."""
    document: Object = json.loads(text, object_pairs_hook=Object)
    return document


def _any_value(rng: random.Random) -> Raw:
    return Raw(rng.choice(rng.choice((NOT_JSON, NUMBERS, NUMBERS, OTHERS))))


def _rows(document: Object, rng: random.Random) -> list[Any] | None:
    """The rows of a table that has some."""
    tables = [value for name, value in document if name in TABLES and isinstance(value, list)]
    tables = [table for table in tables if table]
    return rng.choice(tables) if tables else None


def _row(document: Object, rng: random.Random) -> list[Any] | None:
    """A row that holds something."""
    rows = [row for row in _rows(document, rng) or () if isinstance(row, list) and row]
    return rng.choice(rows) if rows else None


def change_number(document: Object, rng: random.Random) -> None:
    if row := _row(document, rng):
        row[rng.randrange(len(row))] = _any_value(rng)


def rewire(document: Object, rng: random.Random) -> None:
    """Another end or rate that could be meant: loops, dead ends and traps come about so."""
    n = document.get("n_vertices")
    for _ in range(rng.choice((1, 2, 5))):
        if row := _row(document, rng):
            ends = [rng.randint(-1, n + 1) if isinstance(n, int) else 1, rng.randrange(4)]
            row[rng.randrange(len(row))] = rng.choice((*ends, 0.0, 1e-300, 1e300, -1.0))


def change_row(document: Object, rng: random.Random) -> None:
    if row := _row(document, rng):
        kind = rng.randrange(4)
        if kind == 0:
            row.append(_any_value(rng))
        elif kind == 1:
            row.pop(rng.randrange(len(row)))
        elif kind == 2:
            row.clear()
        else:
            row[0] = [row[0]]


def change_rows(document: Object, rng: random.Random) -> None:
    if rows := _rows(document, rng):
        kind, index, other = rng.randrange(6), rng.randrange(len(rows)), rng.randrange(len(rows))
        if kind == 0:
            rows.pop(index)
        elif kind == 1:
            row = rows[index]
            rows.insert(other, row.copy() if isinstance(row, list) else row)
        elif kind == 2:
            rows[index], rows[other] = rows[other], rows[index]
        elif kind == 3:
            rows[index] = _any_value(rng)
        elif kind == 4:
            rows.clear()
        else:
            rows.reverse()


def replace_field(document: Object, rng: random.Random) -> None:
    document.put(rng.choice(FIELDS), _any_value(rng))


def change_count(document: Object, rng: random.Random) -> None:
    name = rng.choice(COUNTS)
    count = document.get(name)
    close = [str(count + step) for step in (-1, 1, 2)] if isinstance(count, int) else []
    document.put(name, Raw(rng.choice((*close, *NUMBERS))))


def give_field_twice(document: Object, rng: random.Random) -> None:
    """The same name again, perhaps spelled otherwise."""
    name, value = rng.choice(document)
    if isinstance(name, str) and not isinstance(name, Raw):
        escaped = Raw('"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"')
        name = rng.choice((name, escaped))
    again = rng.choice((value, _any_value(rng), [], Raw(r'["\q"]')))
    document.insert(rng.randrange(len(document) + 1), (name, again))


def remove_field(document: Object, rng: random.Random) -> None:
    if document:
        document.pop(rng.randrange(len(document)))


def rename_field(document: Object, rng: random.Random) -> None:
    if document:
        index = rng.randrange(len(document))
        document[index] = (rng.choice((*NAMES, *FIELDS, Raw("1"))), document[index][1])


def add_field(document: Object, rng: random.Random) -> None:
    document.insert(rng.randrange(len(document) + 1), (rng.choice(NAMES), _any_value(rng)))


def nest(document: Object, rng: random.Random) -> None:
    """Nests a field so deep that a reader that calls itself would run out of stack."""
    depth = rng.choice((2, 100, 1_000, 100_000, 1_000_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")))
    inner = rng.choice(("", "1", "[]", "{}"))
    closed = rng.random() < 0.7
    document.put(rng.choice(FIELDS), Raw(opening * depth + inner + closing * (depth * closed)))


def change_names(document: Object, rng: random.Random) -> None:
    field = rng.choice(("parameter_names", "state_names"))
    names = document.get(field)
    names = list(names) if isinstance(names, list) else [rng.choice(NAMES) for _ in range(3)]
    names[rng.randrange(len(names)) if names else slice(0)] = rng.choice((*NAMES, "left", 1, None))
    document.put(field, names)


def change_rewards(document: Object, rng: random.Random) -> None:
    n = document.get("n_vertices")
    numbers = [rng.choice((0, 1.5, -2)) for _ in range(n if isinstance(n, int) else 2)]
    if numbers and rng.random() < 0.5:
        numbers[rng.randrange(len(numbers))] = _any_value(rng)
    rewards = document.get("rewards")
    rewards = Object(rewards) if isinstance(rewards, Object) else Object()
    rewards.append((rng.choice((*NAMES, "time")), numbers))
    document.put("rewards", rewards)


def make_large(document: Object, rng: random.Random) -> None:
    """Megabytes in the fewest characters per value, so that memory per byte shows."""
    n = rng.choice((100_000, 500_000, 1_000_000))
    unit = rng.choice(("[0]", "[]", "0", "[1,1,1]", '""', '"a"', "{}", "1e9", "[[]]"))
    name = rng.choice(FIELDS)
    document.put(name, Raw("[" + ",".join([unit] * n) + "]"))
    if name == "states" and rng.random() < 0.7:
        document.put("n_vertices", n)
        document.put("state_length", int(unit == "[0]"))
        for other in ("vertex_indices", "rewards", "state_names"):
            if document.get(other) is not None:
                document.pop(document.names().index(other))


def make_long(document: Object, rng: random.Random) -> None:
    """A string, a number or a name of a megabyte."""
    n = rng.choice((10_000, 1_000_000))
    long = rng.choice(('"' + "a" * n + '"', '"' + r"\u0061" * n + '"', "1" * n, " " * n + "1"))
    if rng.random() < 0.5:
        document.put(rng.choice(FIELDS), Raw(long))
    else:
        document.append((Raw('"' + "b" * n + '"'), 1))


_CHANGES: tuple[tuple[Callable[[Object, random.Random], None], int], ...] = (
    (change_number, 12),
    (rewire, 12),
    (change_row, 6),
    (change_rows, 8),
    (replace_field, 6),
    (change_count, 8),
    (give_field_twice, 6),
    (remove_field, 3),
    (rename_field, 3),
    (add_field, 3),
    (nest, 2),
    (change_names, 5),
    (change_rewards, 5),
    (make_large, 1),
    (make_long, 1),
)


def change_document(document: Object, rng: random.Random) -> None:
    """One to four changes to its values."""
    changes, weights = zip(*_CHANGES, strict=True)
    for change in rng.choices(changes, weights, k=rng.choice((1, 1, 2, 4))):
        change(document, rng)


def change_text(text: bytes, rng: random.Random) -> bytes:
    """A change to how the document is written."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b" \n", b"//\n", b"[")) + text
    if kind == 1:
        return text + rng.choice((b"\0", b"{}", b",", b" \n", b"\xff", b"//", text))
    if kind == 2:
        encoding = rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-7"))
        return text.decode("utf-8", "replace").encode(encoding)
    if kind == 3:
        return b"[" + text + b"]"
    if kind == 4:
        return text.replace(b",", b",,", 1) if rng.random() < 0.5 else text.replace(b"]", b",]", 1)
    return raw_bytes.changed(text, rng)


def make(rng: random.Random) -> bytes:
    """A graph in JSON, changed in one or more ways; now and then not at all."""
    document = parse(rng.choice(examples.documents()))
    kind = rng.random()
    if kind < 0.9:
        change_document(document, rng)
    text = render(document).encode("utf-8", "surrogatepass")
    return change_text(text, rng) if kind > 0.75 and kind < 0.98 else text
