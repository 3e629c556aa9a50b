#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Instructions that the server itself executes for an operation, against those on record.

Unlike time they do not depend on what else the machine does. smp-bench drives a server under
callgrind with few and with many operations; the difference, divided, is one operation without start
and stop. The server is one whose turns are long (tests/bench/meson.build): callgrind makes it slow, and
how often it would stop between two commands follows from the machine. Only instructions of our own program count: those of the libraries depend on what the
processor can do. Exit status 1 when an operation takes more than the tolerance allows over what
tests/bench/instructions.json says, or so much less that the record should be renewed (--update,
with the reason in the commit). A build by another compiler or with other options is only printed.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conformance"))

from smp import server as servers  # noqa: E402
from smp.server import Server, bench_beside, default_binary, find_binary  # noqa: E402

RECORD = HERE / "instructions.json"
TOLERANCE_PERCENT = 5
# Into how many pieces a handshake's bytes come is up to the kernel, and which timers fall into the seconds
# of a tick to chance.
TOLERANCES_PERCENT = {"connect": 8, "tick": 50}
INI = {("TRANSPORT", "threads"): 1, ("PROXY", "allow_private_relays"): "on"}
SILENT = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
FEW_AND_MANY = (1, 4)  # times the count of the scenario
ADDRESS = "ADDRESS"  # stands for the server's
ONE = ["--warm-up", "0", "--timeout", "120", "--connections", "1"]

# Name: the option that says how many, how many, what smp-bench is told besides. One thing at a time, so
# that runs are alike. A message is forwarded by the server to itself, so both its ways are counted.
SCENARIOS = {
    "relay": ("--count", 100, ["relay", "--pairs", "1", *ONE]),
    "forward": ("--count", 60, ["relay", "--pairs", "1", "--proxy", ADDRESS, *ONE]),
    "subscribe": ("--count", 270, ["subscribe", "--queues", "270", *ONE]),
    "connect": ("--count", 60, ["connect", *ONE]),
    "create": ("--count", 50, ["create", "--window", "1", *ONE]),
}
# Clients of which nothing comes, and for how long they are looked at.
IDLE_CLIENTS, IDLE_SECONDS = 50, 10


def own_instructions(path, program):
    """The sum over the functions of our program in a file of callgrind."""
    names, inside, total, skip = {}, False, 0, False
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("ob="):
            number, name = re.fullmatch(r"ob=(\(\d+\))?\s*(.*)", line).groups()
            names.setdefault(number, name)
            inside = (name or names[number]) == program
        elif line.startswith("cob="):
            number, name = re.fullmatch(r"cob=(\(\d+\))?\s*(.*)", line).groups()
            if name:
                names.setdefault(number, name)
        elif line.startswith("calls="):
            skip = True  # what follows is the cost of the function called
        elif line[:1] in "0123456789+-*" and line:
            if inside and not skip:
                total += int(line.split()[1])
            skip = False
    return total


def wrap(binary, directory):
    """A program that runs the server under callgrind."""
    wrapper = Path(directory, "smp-server-callgrind")
    out = Path(directory, "callgrind.out")
    wrapper.write_text("#!/bin/sh\nexec valgrind --quiet --tool=callgrind "
                       f"--callgrind-out-file={out} {binary} \"$@\"\n")
    wrapper.chmod(0o755)
    return wrapper, out


@contextmanager
def counted(binary, store):
    """(server, its address, the file with its instructions once it has stopped)"""
    with tempfile.TemporaryDirectory() as directory:
        wrapper, out = wrap(binary, directory)
        server = Server(binary, store=store, ini=INI, has_sandbox=False)  # valgrind has none
        server.binary = str(wrapper)
        try:
            server.start()
            yield server, server.printed_address.split("@")[0] + f"@127.0.0.1:{server.ports[0]}", out
        finally:
            server.remove()


def bench_words(bench, address, words):
    """smp-bench with what it is told."""
    return [bench, words[0], address, *(address if word == ADDRESS else word for word in words[1:])]


def run(binary, bench, store, words):
    """Instructions of a server of which smp-bench wanted this."""
    with counted(binary, store) as (server, address, out):
        subprocess.run(bench_words(bench, address, words), check=True, timeout=300, **SILENT)
        server.stop()
        return own_instructions(out, str(Path(binary).resolve()))


def per_operation(binary, bench, store, option, count, words):
    """Instructions of one more."""
    few, many = (run(binary, bench, store, [*words, option, str(count * times)])
                 for times in FEW_AND_MANY)
    return round((many - few) / (count * (FEW_AND_MANY[1] - FEW_AND_MANY[0])))


def wait_for_quiet(server, clients):
    """Until they have all connected, and three seconds go by in which next to nothing is done for them."""
    descriptors, before = Path(f"/proc/{server.process.pid}/fd"), 0
    while len(list(descriptors.iterdir())) < clients or server.cpu_seconds() - before > 0.1:
        before = server.cpu_seconds()
        time.sleep(3)


def per_tick(binary, bench, store):
    """Instructions of a second in which nothing comes from any client."""
    words = ["idle", "--connections", str(IDLE_CLIENTS), "--timeout", "120", "--seconds", "600"]
    with counted(binary, store) as (server, address, out):
        with subprocess.Popen(bench_words(bench, address, words), **SILENT) as clients:
            wait_for_quiet(server, IDLE_CLIENTS)
            control = ["callgrind_control", str(server.process.pid)]
            subprocess.run([*control, "--zero"], check=True, **SILENT)
            time.sleep(IDLE_SECONDS)
            subprocess.run([*control, "--dump"], check=True, **SILENT)
            clients.terminate()
        server.stop()
        return round(own_instructions(out.with_name(out.name + ".1"), str(Path(binary).resolve()))
                     / IDLE_SECONDS)


def build_of(binary):
    """By what the build's instructions are determined, besides its sources."""
    def output(*command):
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    comments = output("readelf", "-p", ".comment", str(binary))
    options = {o["name"]: o["value"] for o in json.loads(
        output("meson", "introspect", "--buildoptions", str(Path(binary).parent)))}
    return {"compilers": sorted(set(re.findall(r"\]\s+(.*\S)", comments))),
            "machine": output("uname", "-m").strip(),
            **{name: options[name] for name in ("buildtype", "optimization", "b_sanitize")}}


def judge(name, found, recorded):
    """Prints one line; false when the record does not hold."""
    if recorded is None:
        print(f"{name:<12} {found:>9}")
        return True
    percent = 100 * (found - recorded) / recorded
    limit = TOLERANCES_PERCENT.get(name, TOLERANCE_PERCENT)
    verdict = ("more than on record" if percent > limit else
               "fewer than on record: renew it with --update" if percent < -limit else "")
    print(f"{name:<12} {found:>9} {recorded:>9} {percent:>+6.1f} %  {verdict}", flush=True)
    return not verdict


def main():
    """Exit status 0 when the record holds, or does not apply."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write what is found to the record")
    parser.add_argument("--store", default="journal", choices=tuple(servers.STORES))
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    servers.START_TIMEOUT = 300
    binary = find_binary(options.server_binary)
    unhurried = Path(binary).parent / "tests" / "bench" / "smp-server-unhurried"
    build, found = build_of(binary), {}
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() and not options.update else None
    applies = recorded is not None and recorded["build"] == build
    if recorded is not None and not applies:
        print(f"The record is of another build, so nothing is compared: {recorded['build']}")
    good = True
    print(f"{'':<12} {'found':>9} {'record':>9}   instructions of smp-server per operation")
    ways = {name: partial(per_operation, unhurried, bench_beside(binary), options.store, *what)
            for name, what in SCENARIOS.items()}
    ways["tick"] = partial(per_tick, unhurried, bench_beside(binary), options.store)
    for name, way in ways.items():
        found[name] = way()
        good &= judge(name, found[name], recorded["instructions"].get(name) if applies else None)
    if options.update:
        RECORD.write_text(json.dumps({"build": build, "instructions": found}, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
