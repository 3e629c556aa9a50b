# SPDX-License-Identifier: AGPL-3.0-or-later
"""What bash proposes: `smp-server ` and words, and the TAB key."""

import re
import subprocess

import pytest
from conftest import REPO

SCRIPT = REPO / "packaging/bash-completion/smp-server"


@pytest.fixture(name="complete")
def fixture_complete(binary, tmp_path):
    """Gives what is proposed for the last word of a line."""
    (tmp_path / "own.ini").touch()
    (tmp_path / "other.txt").touch()
    (tmp_path / "folder").mkdir()

    def run(*words):
        done = subprocess.run(
            ["bash", "-c", 'source "$0"; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _smp_server; '
             'printf "%s\\n" "${COMPREPLY[@]}"', SCRIPT, binary, *words],
            cwd=tmp_path, text=True, capture_output=True, check=True, timeout=60)
        assert done.stderr == ""
        return done.stdout.split()
    return run


def helped(binary, *words):
    """Names of commands and options in a help text."""
    said = subprocess.run([binary, *words, "-h"], text=True, check=True, stdout=subprocess.PIPE,
                          timeout=60).stdout
    return (re.findall(r"^  (?:journal )?([a-z]+)  ", said, re.MULTILINE),
            re.findall(r"(?<=[ ,])--?[a-z][a-z-]*(?=[ ,\[\n]|$)", "\n".join(
                line[:32] for line in said.splitlines() if line.startswith("  -"))))


def test_commands(binary, complete):
    """All commands, and those that begin so."""
    commands, options = helped(binary)
    assert complete("") == commands and "init" in commands
    assert complete("st") == ["start"]
    assert sorted(complete("-")) == sorted(options) == ["--help", "--version", "-h", "-v"]


def test_below_a_command(binary, complete):
    """The commands of `journal` and their options."""
    assert complete("journal", "") == helped(binary, "journal")[0] == ["import", "export", "delete"]
    assert "--skip-warnings" in complete("journal", "import", "--")


@pytest.mark.parametrize("command", ["init", "start", "check", "address", "cert", "delete"])
def test_options(binary, complete, command):
    """All options of a command, letters too, and nothing else; other options before do no harm."""
    options = sorted(helped(binary, command)[1])
    assert sorted(complete(command, "-")) == options and "--help" in options
    assert sorted(complete(command, "--help", "-")) == options


def test_values(complete):
    """Words from the help text, folders, files; nothing where anything may stand."""
    assert complete("start", "--confirm-migrations", "") == ["up", "down"]
    assert complete("start", "--log-level", "w") == ["warn"]
    assert complete("init", "-a", "") == complete("init", "--sign-algorithm", "ED") == ["ED25519", "ED448"]
    assert complete("init", "--web-path", "") == ["folder"]
    assert complete("init", "--fqdn", "") == []
    assert complete("check", "") == ["own.ini", "folder"]
    assert complete("init", "--control-port", "--no-p") == ["--no-password"]


def test_words_of_values_are_true(binary):
    """The script's own words are those of the help texts."""
    rows = re.findall(r'^    ([A-Z]+)\) compgen -W "([^"]*)"', SCRIPT.read_text(), re.MULTILINE)
    assert len(rows) == 3
    said = "".join(subprocess.run([binary, command, "-h"], text=True, check=True, timeout=60,
                                  stdout=subprocess.PIPE).stdout for command in ("init", "start", "cert"))
    for metavar, words in rows:
        rest = re.search(rf"--[a-z-]+ {metavar} +(.*(?:\n {{20,}}.*)*)", said)[1]
        for word in words.split():
            assert word in rest, (metavar, rest)


def test_unknown_program():
    """A program that cannot be run proposes nothing, and says nothing."""
    done = subprocess.run(["bash", "-c", 'source "$0"; COMP_WORDS=(/nonexistent "") COMP_CWORD=1; _smp_server; '
                           'echo "${#COMPREPLY[@]}"', SCRIPT], text=True, capture_output=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")
