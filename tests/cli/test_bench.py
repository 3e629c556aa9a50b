# SPDX-License-Identifier: AGPL-3.0-or-later
"""smp-bench: every workload against our server, and that what goes wrong is seen and named."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
from program import TIMEOUT, check_sanitizers, free_port, one_line
from smp.server import bench_beside

COMMON = ["--json", "--threads", "2", "--timeout", "30"]
QUICK = ["--seconds", "0.5", "--warm-up", "0.2"]

# Workload, its options, its stages with the latencies that each has.
WORKLOADS = [
    ("relay", [*QUICK, "--pairs", "6", "--connections", "3", "--window", "2"],
     {"relay": {"send", "deliver", "ack"}}),
    ("relay", [*QUICK, "--pairs", "4", "--connections", "2", "--rate", "50", "--size", "28"],
     {"relay": {"send", "deliver", "ack", "late"}}),
    ("relay", [*QUICK, "--pairs", "2", "--window", "3", "--ack-delay", "5"],
     {"relay": {"send", "deliver", "ack"}}),
    ("relay", ["--count", "41", "--warm-up", "0", "--pairs", "2", "--version", "6"],
     {"relay": {"send", "deliver", "ack"}}),
    ("connect", [*QUICK, "--connections", "3"], {"connect": {"connect"}}),
    ("connect", ["--count", "9", "--warm-up", "0", "--rate", "50"], {"connect": {"connect", "late"}}),
    ("create", [*QUICK, "--window", "3"], {"create": {"new", "del"}}),
    ("subscribe", [*QUICK, "--connections", "2", "--queues", "20"],
     {"subscribe": {"connect", "sub"}}),
    ("idle", ["--connections", "6", "--queues", "2", "--seconds", "0.1"],
     {"idle": {"connect", "new"}}),
    ("backlog", ["--pairs", "3", "--messages", "20"], {"fill": {"send"}, "drain": {"sub", "ack"}}),
    ("mixed", [*QUICK, "--pairs", "4", "--connections", "2", "--queues", "10"],
     {"mixed": {"send", "deliver", "ack", "connect", "new", "del", "sub"}}),
]


class Bench:
    """smp-bench beside the server, and the address of the server."""

    def __init__(self, program, server):
        self.binary = bench_beside(program.binary)
        self.pid = server.process.pid
        self.address = next(line.split(": ", 1)[1].strip() for line in server.out
                            if line.startswith("Server address: "))
        self.address = self.address.replace("<hostnames>", "127.0.0.1")

    def start(self, workload, *words):
        """Without waiting."""
        return subprocess.Popen([self.binary, workload, *words], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, workload, *words, status=0):
        """To its end: (output, errors)."""
        process = self.start(workload, *words)
        out, err = process.communicate(timeout=2 * TIMEOUT)
        check_sanitizers(err)
        assert process.returncode == status, out + err
        return out, err


@pytest.fixture
def bench(ready):
    """A running server and its load generator."""
    return Bench(ready, ready.start())


@pytest.mark.parametrize("workload, options, stages", WORKLOADS)
def test_workload(bench, workload, options, stages):
    """All that came back was right, and the figures are there."""
    out, _ = bench.run(workload, bench.address, "--pid", str(bench.pid), *COMMON, *options)
    found = json.loads(out)
    assert found["workload"] == workload and found["errors"] == {}
    assert {key: n for key, n in found["checks"].items() if n != 0 and key != "received"} == {}
    assert {stage["name"]: set(stage["latency_us"]) for stage in found["stages"]} == stages
    for stage in found["stages"]:
        assert stage["ops"] > 0 and stage["seconds"] > 0 and stage["ops_per_second"] > 0
        assert stage["own_cpu_us_per_op"] > 0
        assert stage["server"]["cpu_us_per_op"] > 0
        wakes = stage["server"]["wake_ups_by_thread"]
        assert set(wakes) == {"loops", "commit", "journal", "others"} and wakes["loops"] > 0
        assert stage["server"]["wake_ups_per_op"] == pytest.approx(sum(wakes.values()), rel=1e-6)
        assert stage["server"]["rss_peak_bytes"] >= stage["server"]["rss_after_bytes"] > 0
        for latency in stage["latency_us"].values():
            assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
            assert latency["p99"] <= latency["p99.9"] <= latency["max"]
    if "--count" in options:
        assert found["stages"][0]["ops"] == int(options[1])


def test_proxy(ready):
    """Messages take the way through a proxy, here the server itself."""
    ready.set("PROXY", "allow_private_relays", "on")
    bench = Bench(ready, ready.start())
    out, _ = bench.run("relay", bench.address, "--proxy", bench.address, *COMMON,
                       "--count", "30", "--pairs", "4", "--connections", "2", "--warm-up", "0")
    found = json.loads(out)
    assert found["stages"][0]["ops"] == 30 and found["checks"]["received"] == 30


def test_storage(ready):
    """What each operation asks of the disk, by the server's own count: a message is written and
    deleted, both synced."""
    port = free_port()
    ready.set("TRANSPORT", "metrics", f"127.0.0.1:{port}")
    bench = Bench(ready, ready.start())
    words = ["relay", bench.address, "--pid", str(bench.pid), "--metrics", str(port), "--count",
             "40", "--pairs", "1", "--warm-up", "0", "--threads", "1", "--connections", "1"]
    stage = json.loads(bench.run(*words, "--json")[0])["stages"][0]
    assert 0 < stage["storage"]["syncs_per_op"] < 4
    if os.access(f"/proc/{bench.pid}/io", os.R_OK):  # root's, as long as no debugger may look into it
        assert stage["server"]["file_bytes_per_op"] > 16000
    assert stage["storage"]["writes_per_op"] >= stage["storage"]["syncs_per_op"] / 2
    assert stage["storage"]["written_bytes_per_op"] > 16000  # the body
    text = bench.run(*words)[0]
    assert re.search(r"^  wake-ups: [0-9.]+ per message \(loops [0-9.]+, commit [0-9.]+, ", text, re.M)
    assert re.search(r"^  disk: [0-9.]+ syncs, [0-9.]+ writes, [0-9]+ bytes written per message$",
                     text, re.M)
    assert re.search(r"^  files: [0-9]+ bytes written per message$", text, re.M)
    words += ["--vs", bench.address, "--vs-pid", str(bench.pid), "--vs-metrics", str(port)]
    ratio = json.loads(bench.run(*words, "--rounds", "1", "--json")[0])["ratio"]
    assert ratio["relay.syncs_per_op"] > 0 and ratio["relay.wake_ups_per_op"] > 0


def test_versus(bench):
    """Two servers (here the same one twice) in turn, and the ratio."""
    words = ["relay", bench.address, "--vs", bench.address, "--pid", str(bench.pid), "--vs-pid",
             str(bench.pid), "--rounds", "2", "--count", "20", "--pairs", "2", "--warm-up", "0",
             "--threads", "1"]
    found = json.loads(bench.run(*words, "--json")[0])
    assert found["first"]["stages"][0]["ops"] == found["second"]["stages"][0]["ops"] == 40
    assert found["ratio"]["relay.ops_per_second"] > 0
    assert found["ratio"]["relay.server_cpu_us_per_op"] > 0
    lines = bench.run(*words)[0].splitlines()
    assert lines[0].split() == ["relay", "first", "second", "ratio"]


def test_table(bench):
    """What people read."""
    out, err = bench.run("backlog", bench.address, "--pairs", "2", "--messages", "10")
    assert err == ""  # no bar: that is for terminals
    assert out.startswith("fill: 20 messages in ")
    assert "\ndrain: 20 messages in " in out
    assert out.endswith("messages: 20 received, 0 lost, 0 twice, 0 out of order, 0 damaged\n")


# ---- what goes wrong ----


def test_errors_are_named(bench):
    """Queues take 128 messages: the others are refused, by that name, and the status says so."""
    out, err = bench.run("backlog", bench.address, "--json", "--pairs", "2", "--messages", "130",
                         status=1)
    found = json.loads(out)
    assert found["errors"] == {"SEND: QUOTA": 4}
    assert found["checks"]["received"] == 256 and found["checks"]["lost"] == 0
    assert one_line(err).startswith("Error: the server did not do what it should")


def test_password_is_needed(ready):
    """An address without the password makes no queues."""
    ready.set("AUTH", "create_password", "pass")
    bench = Bench(ready, ready.start())
    bench.run("create", bench.address, "--count", "1", "--warm-up", "0")
    _, err = bench.run("create", bench.address.replace(":pass@", "@"), status=1)
    assert one_line(err) == "Error: the server refused NEW: AUTH"


def test_server_dies(ready):
    """In the middle: the run ends with a reason."""
    server = ready.start()
    bench = Bench(ready, server)
    threading.Timer(1, server.process.kill).start()
    _, err = bench.run("relay", bench.address, "--seconds", "60", "--pairs", "4", status=1)
    assert one_line(err).startswith("Error: the connection was lost: ")
    _, err = bench.run("relay", bench.address, status=1)
    assert one_line(err) == "Error: no connection: Connection refused"


def test_server_stands_still(ready):
    """No answer in time is an error too."""
    server = ready.start()
    bench = Bench(ready, server)
    process = bench.start("relay", bench.address, "--seconds", "60", "--pairs", "4", "--timeout", "3")
    time.sleep(2)
    server.process.send_signal(signal.SIGSTOP)
    _, err = process.communicate(timeout=TIMEOUT)
    server.process.send_signal(signal.SIGCONT)
    assert process.returncode == 1
    assert one_line(err).startswith("Error: no answer to ")


def test_wrong_address(bench):
    """Another server than the one meant is no server to measure; nor is what is no address."""
    scheme, rest = "smp://", bench.address.removeprefix("smp://")
    other = scheme + ("B" if rest[0] == "A" else "A") + rest[1:]
    _, err = bench.run("relay", other, status=1)
    assert one_line(err) == "Error: no TLS: peer asked for another server identity"
    _, err = bench.run("relay", "smp://x", status=1)
    assert one_line(err).startswith("Error: smp://x is not the address of a server: ")


def test_wrong_use(bench):
    """One line that says what to do."""
    for words, reason in [(["nothing"], "unknown workload nothing"),
                          (["relay"], "which server? "),
                          (["relay", bench.address, "--size", "27"], "--size must be at least 28"),
                          (["relay", bench.address, "--threads", "3", "--pairs", "2"],
                           "--threads 3 are more than there is work for"),
                          (["relay", bench.address, "--version", "5"],
                           "no SMP handshake: no common version")]:
        out, err = bench.run(*words, status=1)
        assert one_line(err).startswith("Error: " + reason), (out, err)


def test_help(bench):
    """Of the program, and of each workload its own options."""
    out, _ = bench.run("-h")
    for name in ("relay", "connect", "idle", "subscribe", "create", "backlog", "mixed", "crypto"):
        assert f"\n  {name} " in out
        assert f"Usage: smp-bench {name}" in bench.run(name, "-h")[0]


def test_crypto(bench):
    """The bounds are sums of what was measured."""
    found = json.loads(bench.run("crypto", "--json")[0])
    ops, bound = found["ops_us"], found["bound_us"]
    assert all(us > 0 for us in ops.values())
    relay = (3 * ops["tls_seal"] + 2 * ops["tls_open"] + 3 * ops["block_seal"] +
             2 * ops["block_open"] + ops["body_box"] + ops["authenticator"] + ops["verify_short"])
    assert abs(relay - bound["relay"]) < 0.01 * relay
    assert bound["sub"] < bound["relay_plain"] < bound["relay"] < bound["connect"]
