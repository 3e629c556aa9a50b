# SPDX-License-Identifier: AGPL-3.0-or-later
"""Golden files: texts that operators and their scripts know, kept in golden/ as they are printed.

What differs from run to run is replaced by its name in braces: {config}, {fingerprint}, {version}.
After a change that is meant, SMP_UPDATE_GOLDEN=1 makes the tests write the files anew; the
difference is then reviewed like any other.
"""

import difflib
import os
import re
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent / "golden"
UPDATE = "SMP_UPDATE_GOLDEN"
PASSWORD = re.compile(r"(\{fingerprint\}):[\w-]{43}=@")
VERSION = re.compile(r"^SMP server v\S+ / \S+$", re.MULTILINE)


def normalize(text, program, **values):
    """Replaces what differs from run to run: paths, version, and `values` by their names."""
    for name, value in sorted(values.items(), key=lambda pair: -len(str(pair[1]))):
        text = text.replace(str(value), "{" + name + "}")
    text = text.replace(str(program.config), "{config}").replace(str(program.state), "{state}")
    text = VERSION.sub("{version}", text)
    path = program.config / "fingerprint"
    if path.exists():
        text = text.replace(path.read_text().strip(), "{fingerprint}")
    return PASSWORD.sub(r"\1:{password}@", text)


def check_golden(name, text):
    """Compares a normalized text with golden/<name>, or writes it there when that was asked for."""
    path = GOLDEN / name
    if os.environ.get(UPDATE):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return
    expected = path.read_text() if path.exists() else ""
    difference = "".join(difflib.unified_diff(expected.splitlines(True), text.splitlines(True),
                                              f"golden/{name}", "printed"))
    assert text == expected, (f"{difference}\nIf this is meant, run the test again with {UPDATE}=1 "
                              "and commit the file.")
