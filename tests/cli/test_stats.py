# SPDX-License-Identifier: AGPL-3.0-or-later
"""The statistics' files: restored and saved, and metrics that Prometheus' own tool accepts."""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import TIMEOUT
from smp_client import connect, drain, fill

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference-6.5.5"
STATS, DAILY, METRICS = ("smp-server-stats.log", "smp-server-stats.daily.log",
                         "smp-server-metrics.txt")
KEY = "smp-server-stats.key"


def use_stats(program):
    """Sets log_stats: on."""
    program.set("STORE_LOG", "log_stats", "on")


def saved(program):
    """The counters of the state file; those of sections by `section.name`."""
    section, found = "", {}
    for line in (program.state / STATS).read_text().splitlines():
        if line.endswith(":"):
            section = line[:-1] + "."
        elif line.startswith("pMsgFwdsRecv="):
            found["pMsgFwdsRecv"] = line.partition("=")[2]
        else:
            name, _, value = line.partition("=")
            found[section + name] = value
    return found


def test_restart_keeps_counters(ready):
    """What is counted in two runs is added up, and queues that were active twice count once."""
    use_stats(ready)
    server = ready.start()
    assert f"server stats log enabled: {ready.state / DAILY}\n" in server.out
    queue = fill(ready, [b"one", b"two"])
    server.stop()
    first = saved(ready)
    assert (first["qCreated"], first["msgSent"], first["msgRecv"]) == ("1", "2", "0")
    assert re.fullmatch(r"-?\d+", first["activeQueues.dayHashes"])
    server = ready.start()
    assert drain(ready, queue) == [b"one", b"two"]
    fill(ready, [b"three"])
    server.stop()
    second = saved(ready)
    assert (second["qCreated"], second["msgSent"], second["msgRecv"]) == ("2", "3", "2")
    assert second["fromTime"] == first["fromTime"]
    hashes = second["activeQueues.monthHashes"].split(",")
    assert len(hashes) == 2 and first["activeQueues.monthHashes"] in hashes


def hash_of(queue_id):
    """What the reference keeps of an id (hashable 1.4), which everybody can compute."""
    value = 14695981039346656037
    for part in [len(queue_id) >> shift & 0xffff for shift in (48, 32, 16, 0)] + list(queue_id):
        value = value * 1099511628211 % 2**64 ^ part
    return value - (value >> 63 << 64)


def test_hashes_are_keyed(ready):
    """Who takes the statistics and knows an id finds it only with the keys, which the owner alone may read."""
    use_stats(ready)
    ready.start().stop()
    server = ready.start()
    queue = fill(ready, [b"one"])
    server.stop()
    text = (ready.state / STATS).read_text()
    assert hash_of(b"a") == -1964608642901874691
    assert saved(ready)["activeQueues.dayHashes"] != ""
    assert str(hash_of(queue.rcv_id)) not in text
    assert (ready.state / KEY).stat().st_mode & 0o777 == 0o600
    assert (ready.state / KEY).stat().st_size == 128


def test_lost_keys(ready):
    """The server starts and counts on; queues that were active before count twice in their period."""
    use_stats(ready)
    server = ready.start()
    queue = fill(ready, [b"one", b"two"])
    server.stop()
    (ready.state / KEY).unlink()
    server = ready.start()
    drain(ready, queue)
    server.stop()
    assert len(saved(ready)["activeQueues.monthHashes"].split(",")) == 2
    assert (ready.state / KEY).exists()


def test_state_of_the_reference_is_kept(ready):
    """A file that the reference wrote comes out as it was, with as many hashes, keyed; only the store knows the
    queues."""
    use_stats(ready)
    shutil.copy(SAMPLES / "memory" / STATS, ready.state / STATS)
    before = saved(ready)
    ready.start().stop(signal.SIGINT)
    after = saved(ready)
    assert list(before) == list(after)
    assert (before.pop("qCount"), after.pop("qCount")) == ("5", "0")
    for name, value in before.items():
        if not name.endswith("Hashes"):
            assert after[name] == value
            continue
        old, new = value.split(","), after[name].split(",")
        assert len(old) == len(new) and (value == "" or not set(old) & set(new))
    assert not (ready.state / DAILY).exists()


def test_damaged_state_is_kept_aside(ready):
    """It stops nobody from being served, and is not lost."""
    use_stats(ready)
    (ready.state / STATS).write_text("fromTime=yesterday\n")
    server = ready.start()
    server.stop()
    assert any("stats_damaged" in line for line in server.err)
    [aside] = ready.state.glob(STATS + ".damaged-*")
    assert aside.read_text() == "fromTime=yesterday\n"
    assert saved(ready)["qCreated"] == "0"


def test_without_log_stats_no_file_is_written(ready):
    """Nor is one that is there read or changed."""
    (ready.state / STATS).write_text("not ours\n")
    ready.start().stop()
    assert (ready.state / STATS).read_text() == "not ours\n"
    assert not (ready.state / DAILY).exists() and not (ready.state / METRICS).exists()


def test_maintenance_changes_no_statistics(ready):
    """Nobody is served, so nothing is counted."""
    use_stats(ready)
    shutil.copy(SAMPLES / "memory" / STATS, ready.state / STATS)
    ready.run("start", "--maintenance")
    assert (ready.state / STATS).read_bytes() == (SAMPLES / "memory" / STATS).read_bytes()


def wait_metrics(program, *lines):
    """The metrics, when they have all these lines."""
    path = program.state / METRICS
    deadline = time.monotonic() + TIMEOUT
    while True:
        text = path.read_text() if path.exists() else ""
        if all(re.search(line, text, re.MULTILINE) for line in lines):
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


@pytest.fixture(name="metrics")
def fixture_metrics(ready):
    """The metrics of a server with one client, after two that sent and received a message."""
    ready.set("STORE_LOG", "prometheus_interval", "1")
    server = ready.start()
    queue = fill(ready, [b"one"])
    assert drain(ready, queue) == [b"one"]
    with connect(ready):
        text = wait_metrics(ready, r"^simplex_smp_clients_total 1 ",
                            r"^simplex_smp_sockets_accepted\S* 3 ",
                            r"^simplex_smp_sockets_closed\S* 2 ",
                            r"^simplex_smp_loop_lag_seconds_count [1-9]")
    server.stop()
    return text, ready.port


def test_metrics_show_what_was_done(metrics):
    """Counters, gauges, sockets by port and histograms."""
    text, port = metrics
    values = {name: float(value) for name, value in
              re.findall(r"^([a-z_0-9]+(?:\{[^}]*\})?) ([0-9.]+) \d+$", text, re.MULTILINE)}
    assert values["simplex_smp_queues_created"] == 1
    assert values["simplex_smp_queues_total1"] == 1
    assert values["simplex_smp_queues_daily"] == 1
    assert values["simplex_smp_messages_sent"] == 1
    assert values["simplex_smp_messages_received"] == 1
    assert values["simplex_smp_messages_total"] == 0
    assert values["simplex_smp_messages_notify_get_received"] == 1
    assert values[f'simplex_smp_sockets_active{{port="{port}"}}'] == 1
    assert values[f'simplex_smp_sockets_accepted{{port="{port}"}}'] == 3
    assert values["simplex_smp_loops"] >= 1
    assert values["simplex_smp_threads_total"] > values["simplex_smp_loops"]
    assert values["process_resident_memory_bytes"] > 1 << 20
    assert values["process_open_fds"] > 3
    for name in ("simplex_smp_command_latency_seconds", "simplex_smp_loop_lag_seconds",
                 "simplex_smp_delivery_ack_confirmed_time"):
        assert values[name + "_count"] >= 1
        assert values[name + '_bucket{le="+Inf"}'] == values[name + "_count"]


def names_of_the_reference():
    """Its metrics."""
    texts = [(SAMPLES / "metrics.txt").read_text(),
             (SAMPLES.parent / "reference-7.0.0-beta.2" / "metrics.txt").read_text()]
    return set(re.findall(r"^# TYPE (\S+)", "".join(texts), re.MULTILINE))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_metrics(metrics):
    """All that it has to say is about the endings of the reference's names."""
    text, _ = metrics
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False)
    ending = re.compile(r'(\S+) (counter metrics should have|non-counter metrics should not have|'
                        r'non-histogram and non-summary metrics should not have) '
                        r'"_(total|count)" suffix')
    remarks = (done.stdout + done.stderr).splitlines()
    others = [line for line in remarks
              if not (found := ending.fullmatch(line)) or
              found[1] not in names_of_the_reference()]
    assert others == []
    assert done.returncode == 3  # of remarks; 1: it cannot be read
