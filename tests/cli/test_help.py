# SPDX-License-Identifier: AGPL-3.0-or-later
"""Help, version, and words that are no command."""

import re

import pytest
from golden import check_golden, normalize

COMMANDS = ["init", "start", "check", "address", "cert", "delete", "journal", "journal import",
            "journal export", "journal delete"]


def test_no_arguments(program):
    """The help, and status 1."""
    done = program.run(status=1)
    assert done.stderr == ""
    assert "\n  init " in done.stdout and "\n  start " in done.stdout


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help(program, word):
    """The same help, asked for."""
    assert program.run(word).stdout == program.run(status=1).stdout


@pytest.mark.parametrize("word", ["-v", "--version"])
def test_version(program, word):
    """Version and commit."""
    assert re.fullmatch(r"SMP server v\d+\.\d+\.\d+ / \S+\n", program.run(word).stdout)


@pytest.mark.parametrize("command, option", [("init", "--fqdn FQDN"),
                                             ("start", "--log-level LEVEL"),
                                             ("journal import", "-y,--yes")])
def test_command_help(program, command, option):
    """The options of a command; nothing else happens, whatever else is said."""
    for words in (["-h"], ["--help"], ["-h", "--nonsense"]):
        out = program.run(*command.split(), *words).stdout
        assert out.startswith(f"Usage: smp-server {command} [OPTIONS]\n")
        assert option in out
        assert max(map(len, out.splitlines())) <= 100
    assert program.files() == {}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_golden(program, command):
    """Every help, as it is printed."""
    out = program.run(*command.split(), "-h").stdout
    name = "-".join(["help", *command.split()])
    check_golden(f"{name}.txt", normalize(out, program))


def test_group_help(program):
    """The commands of a command."""
    asked = program.run("journal", "-h").stdout
    assert asked.startswith("Usage: smp-server journal COMMAND [OPTIONS]\n")
    for word in ("import", "export", "delete"):
        assert f"\n  journal {word} " in asked
    assert program.run("journal", status=1).stdout == asked
    assert program.refuse("journal", "move") == ("Error: unknown command move: see `smp-server "
                                                 "journal -h`")


@pytest.mark.parametrize("word, kind", [("begin", "command"), ("--start", "option"),
                                        ("", "command"), ("a\nb\x1b[m", "command")])
def test_unknown_command(program, word, kind):
    """One line that says where to look."""
    shown = word.replace("\n", "?").replace("\x1b", "?")  # one line, whatever was typed
    assert program.refuse(word) == f"Error: unknown {kind} {shown}: see `smp-server -h`"


def test_rts_arguments(program):
    """Arguments for the reference's run-time system are dropped with a note, where they are."""
    done = program.run("+RTS", "-N", "-A16m", "-RTS", "-v", "+RTS", "-s")
    assert done.stdout.startswith("SMP server v")
    assert done.stderr == "Note: arguments between +RTS and -RTS are ignored.\n"
