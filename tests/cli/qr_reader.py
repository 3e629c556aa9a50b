# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads an undamaged QR code (ISO/IEC 18004, model 2, level L, byte mode) from half blocks."""

HALVES = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}  # 1: dark
MARGIN = 4
LEVEL_L = 1
MODE_BYTES = 4
# By version: check words of a block, and blocks; level L.
CHECK_WORDS = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28,
               30, 30, 26, 28] + [30] * 14
BLOCKS = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12, 12, 12, 13,
          14, 15, 16, 17, 18, 19, 19, 20, 21, 22, 24, 25]
MASKS = [lambda x, y: (x + y) % 2, lambda x, y: y % 2, lambda x, y: x % 3,
         lambda x, y: (x + y) % 3, lambda x, y: (x // 3 + y // 2) % 2,
         lambda x, y: x * y % 2 + x * y % 3, lambda x, y: (x * y % 2 + x * y % 3) % 2,
         lambda x, y: ((x + y) % 2 + x * y % 3) % 2]


def read_qr(lines):
    """The text of the code that these lines show."""
    rows = [row for line in lines for row in zip(*(HALVES[c] for c in line))]
    rows = [row[MARGIN:-MARGIN] for row in rows[MARGIN:]]
    size = len(rows[0])
    code = rows[:size]
    version, rest = divmod(size - 17, 4)
    assert rest == 0 and 1 <= version <= 40
    assert not any(any(row) for row in rows[size:]), "no margin below"
    bits = [bit ^ flip for bit, flip in zip(code[8][:5], (1, 0, 1, 0, 1))]
    assert number(bits[:2]) == LEVEL_L
    mask = MASKS[number(bits[2:])]
    free = free_modules(version, size)
    found = [code[y][x] ^ (mask(x, y) == 0) for x, y in path(size) if (x, y) in free]
    words = [number(found[i:i + 8]) for i in range(0, len(found) - 7, 8)]
    return parse(data_words(words, version), version)


def number(bits):
    """The number that these bits are, the highest first."""
    value = 0
    for bit in bits:
        value = value << 1 | bit
    return value


def path(size):
    """Modules in the order of the data: columns in pairs from the right, up and down in turn."""
    right, up = size - 1, True
    while right > 0:
        for y in (range(size - 1, -1, -1) if up else range(size)):
            yield right, y
            yield right - 1, y
        right, up = right - 2, not up
        if right == 6:
            right = 5


def free_modules(version, size):
    """Those that hold data: not a pattern, format or version."""
    free = {(x, y) for x in range(size) for y in range(size)}
    taken = [(0, 0, 9, 9), (size - 8, 0, 8, 9), (0, size - 8, 9, 8), (6, 0, 1, size),
             (0, 6, size, 1)]
    if version >= 7:
        taken += [(size - 11, 0, 3, 6), (0, size - 11, 6, 3)]
    if version >= 2:
        places = alignment(version, size)
        corners = {(6, 6), (6, places[-1]), (places[-1], 6)}
        taken += [(x - 2, y - 2, 5, 5) for x in places for y in places if (x, y) not in corners]
    for left, top, width, height in taken:
        free -= {(x, y) for x in range(left, left + width) for y in range(top, top + height)}
    return free


def alignment(version, size):
    """Coordinates of the centres of alignment patterns."""
    count = version // 7 + 2
    step = 26 if version == 32 else (version * 4 + count * 2 + 1) // (count * 2 - 2) * 2
    return [6] + sorted(size - 7 - i * step for i in range(count - 1))


def data_words(words, version):
    """The data, block by block, without check words."""
    blocks, check = BLOCKS[version - 1], CHECK_WORDS[version - 1]
    short = len(words) // blocks - check
    n_short = blocks - len(words) % blocks
    out = [[words[i * blocks + b] for i in range(short)] for b in range(blocks)]
    for b in range(n_short, blocks):
        out[b].append(words[short * blocks + b - n_short])
    return [word for block in out for word in block]


def parse(words, version):
    """One segment of bytes."""
    bits = [word >> i & 1 for word in words for i in range(7, -1, -1)]
    n_count = 8 if version < 10 else 16
    assert number(bits[:4]) == MODE_BYTES
    count, at = number(bits[4:4 + n_count]), 4 + n_count
    return bytes(number(bits[at + 8 * i:at + 8 * i + 8]) for i in range(count)).decode()
