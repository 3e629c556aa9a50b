# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads the pages of docs/guide: what their blocks hold and what is to be done with them.

guide.py PAGE FOLDER -- writes the commands of a page that a machine of its own can run, one file a block.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[2]
PAGES = sorted((REPO / "docs" / "guide").glob("*.md"))
FENCE = re.compile(r"^( *)```(.*)$")

# The word behind the ticks, with what may follow it.
KINDS = {
    "sh": re.compile(r"run|chroot|not-run: .{10,}"),  # commands: run here, in a chroot, or why not
    "ini": re.compile(r""),  # goes into smp-server.ini
    "output": re.compile(r""),  # of the commands before it; ... stands for anything
    "conf": re.compile(r"Caddyfile|haproxy\.cfg"),  # a file of another program
    "text": re.compile(r"|crontab|control port"),  # to be read
}


class Block(NamedTuple):
    """What is between two fences, without the page's indent."""
    line: int
    kind: str
    how: str
    text: str


def blocks(page):
    """All blocks of a page, in their order."""
    found, begin, indent, inside = [], None, "", []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and begin is None:
            begin, indent, inside = (number, *fence[2].partition(" ")[::2]), fence[1], []
        elif fence:
            assert fence[2] == "", f"{page.name}:{number}: a block in a block"
            found.append(Block(*begin, "\n".join(inside) + "\n"))
            begin = None
        elif begin:
            assert line.startswith(indent) or not line, f"{page.name}:{number}: indent"
            inside.append(line[len(indent):])
    assert begin is None, f"{page.name}: the last block has no end"
    return found


def main(name, folder):
    """Files 01.sh, 02.sh ... in their order."""
    mine = [block.text for block in blocks(REPO / "docs" / "guide" / name) if block.kind == "sh" and block.how in ("run", "chroot")]
    Path(folder).mkdir(parents=True)
    for number, text in enumerate(mine, 1):
        (Path(folder) / f"{number:02}.sh").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
