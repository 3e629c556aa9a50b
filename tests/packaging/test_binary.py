# SPDX-License-Identifier: AGPL-3.0-or-later
"""What compiler and linker were asked for is in the program."""

import json
import platform
import re
import subprocess

import pytest


def readelf(binary, *options):
    """Its output."""
    return subprocess.run(["readelf", "-W", *options, binary], check=True, text=True,
                          stdout=subprocess.PIPE, timeout=60).stdout


@pytest.fixture(scope="module", name="options")
def fixture_options(binary):
    """The options of the program's build folder: names to values."""
    out = subprocess.run(["meson", "introspect", "--buildoptions", binary.parent], check=True,
                         text=True, stdout=subprocess.PIPE, timeout=300).stdout
    return {option["name"]: option["value"] for option in json.loads(out)}


def test_link(binary):
    """Loaded at an address of chance, its tables read-only before main, no stack that is code."""
    assert re.search(r"Type:\s+DYN", readelf(binary, "-h"))
    segments = readelf(binary, "-l")
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK.* RW ", segments)
    assert re.search(r"BIND_NOW|FLAGS.*\bNOW\b", readelf(binary, "-d"))


def test_fortified(binary, options):
    """Copies of which the size is known are checked."""
    if options["b_sanitize"] != "none" or options["optimization"] in ("0", "g"):
        pytest.skip("sanitizers take the place of fortified functions")
    imported = set(re.findall(r"(\w+)@GLIBC", readelf(binary, "--dyn-syms")))
    assert {"__memcpy_chk", "__vsnprintf_chk", "__stack_chk_fail"} <= imported


def test_branches(binary):
    """main begins with the instruction to which indirect jumps are allowed."""
    landing = {"x86_64": b"\xf3\x0f\x1e\xfa"}.get(platform.machine())
    if landing is None:
        pytest.skip("known for x86-64 only")
    symbols = readelf(binary, "-s")
    address = int(re.search(r"(\w+)\s+\d+ FUNC\s+GLOBAL \w+\s+\d+ main$", symbols,
                            re.MULTILINE)[1], 16)
    text = re.search(r"\.text\s+PROGBITS\s+(\w+) (\w+)", readelf(binary, "-S"))
    at = address - int(text[1], 16) + int(text[2], 16)
    assert binary.read_bytes()[at:at + 4] == landing
