# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the check-* scripts share: finding files, C without comments, and the self-test."""

import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def project_files(root):
    """Paths from root of the files git tracks or would track; without git, of all files."""
    git = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if git.returncode == 0:
        names = [n for n in git.stdout.split("\0") if n]
    else:
        names = []
        for where, folders, files in os.walk(root):
            folders[:] = [f for f in folders if not f.startswith(("build", ".git", "__")) and f != "run"]
            names += [os.path.relpath(os.path.join(where, f), root) for f in files]
    return sorted(n for n in names if os.path.isfile(os.path.join(root, n)))


def c_files(root):
    """The C sources of the project, as absolute paths."""
    return [os.path.join(root, n) for n in project_files(root) if n.endswith((".c", ".h", ".def"))]


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def blank(text, comments=True):
    """C text with strings emptied, and comments too if asked for; line numbers stay the same."""
    def replace(m):
        token = m.group(0)
        if token[0] == "/":
            return re.sub(r"[^\n]", " ", token) if comments else token
        return token[0] + " " * (len(token) - 2) + token[0]
    return TOKEN.sub(replace, text)


class Sample:
    """A small tree in a temporary folder, for the self-tests."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory()
        self.root = self.dir.name

    def write(self, name, text):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def expect(self, check, beginnings):
        """check(root) must find exactly these, each finding beginning as given."""
        found = [f.replace(self.root + "/", "") for f in check(self.root)]
        if len(found) != len(beginnings) or not all(map(str.startswith, sorted(found), sorted(beginnings))):
            sys.exit("self-test failed\n expected: " + "\n           ".join(sorted(beginnings))
                     + "\n found:    " + "\n           ".join(sorted(found)))

    def expect_clean(self, check):
        self.expect(check, [])


def run(name, check, self_test):
    """The main() of a check: findings go to stdout; exit status 1 if there are any."""
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    if sys.argv[1:]:
        print(f"usage: tools/{name} [--self-test]", file=sys.stderr)
        return 2
    found = check(ROOT)
    for f in found:
        print(os.path.relpath(f, ROOT) if f.startswith("/") else f)
    if found:
        print(f"{name}: {len(found)} found")
    return 1 if found else 0
