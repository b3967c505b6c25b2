"""Changes to bytes, whatever they mean."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable

Change = Callable[[bytearray, random.Random], bytes | bytearray]

_INTEGERS = (0, 1, -1, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 62, -(1 << 63), (1 << 63) - 1)


def flip_bits(image: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 8))):
        image[_place(image, rng)] ^= 1 << rng.randrange(8)
    return image


def set_bytes(image: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 2, 16))):
        image[_place(image, rng)] = rng.choice((0, 0x22, 0x5B, 0x7F, 0x80, 0xC0, 0xED, 0xFF))
    return image


def set_integer(image: bytearray, rng: random.Random) -> bytearray:
    """Overwrites a field with an integer that counts, offsets and lengths should not be."""
    size = rng.choice((2, 4, 8))
    value = rng.choice(_INTEGERS) & ((1 << 8 * size) - 1)
    place = _place(image, rng)
    image[place : place + size] = value.to_bytes(size, "little")
    return image


def cut_off(image: bytearray, rng: random.Random) -> bytearray:
    return image[: rng.randrange(len(image) + 1)]


def cut_out(image: bytearray, rng: random.Random) -> bytearray:
    place = _place(image, rng)
    del image[place : place + rng.choice((1, 2, 8, 64, 512))]
    return image


def put_in(image: bytearray, rng: random.Random) -> bytearray:
    place = _place(image, rng)
    image[place:place] = rng.randbytes(rng.choice((1, 2, 8, 64)))
    return image


def repeat(image: bytearray, rng: random.Random) -> bytearray:
    place = _place(image, rng)
    part = image[place : place + rng.choice((1, 8, 64, 512))]
    image[place:place] = part * rng.choice((1, 2, 100))
    return image


def zero(image: bytearray, rng: random.Random) -> bytearray:
    place = _place(image, rng)
    n_bytes = len(image[place : place + rng.choice((4, 64, 512))])
    image[place : place + n_bytes] = bytes(n_bytes)
    return image


def move(image: bytearray, rng: random.Random) -> bytearray:
    """Copies one part over another."""
    source, place = _place(image, rng), _place(image, rng)
    part = image[source : source + rng.choice((8, 64, 512))]
    image[place : place + len(part)] = part
    return image


def replace_all(image: bytearray, rng: random.Random) -> bytes:
    """Something else altogether."""
    other = (b"", b"\0" * len(image), rng.randbytes(len(image)), image * 2, gzip.compress(image))
    return bytes(rng.choice(other))


ANYWHERE: tuple[Change, ...] = (
    flip_bits,
    set_bytes,
    set_integer,
    cut_off,
    cut_out,
    put_in,
    repeat,
    zero,
    move,
    replace_all,
)


def changed(image: bytes, rng: random.Random, *, changes: tuple[Change, ...] = ANYWHERE) -> bytes:
    """The bytes after one to four changes."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        if image:
            image = bytes(rng.choice(changes)(bytearray(image), rng))
    return image


def _place(image: bytearray, rng: random.Random) -> int:
    """Anywhere, half of the time near the beginning, where formats say what follows."""
    return rng.randrange(min(len(image), rng.choice((64, 2048, len(image), len(image)))))
