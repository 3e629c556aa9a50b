# SPDX-License-Identifier: AGPL-3.0-or-later
"""GET /metrics: what it answers, what promtool says to it, a Prometheus that scrapes it, and the
dashboards that are made for it."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from program import TIMEOUT, as_nobody, free_port
from smp_client import connect

from smp import Queue

REPO = Path(__file__).resolve().parents[2]
SAMPLE = REPO / "tests" / "samples" / "reference-6.5.5" / "metrics.txt"
SAMPLE_7 = REPO / "tests" / "samples" / "reference-7.0.0-beta.2" / "metrics.txt"
DASHBOARDS = REPO / "packaging" / "grafana"
N_SENT = 3

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None,
                                      reason="Prometheus is not installed: tools/deps test")


@pytest.fixture(name="port")
def fixture_port(ready):
    """A running server with metrics; some messages were sent."""
    port = free_port()
    ready.set("TRANSPORT", "metrics", f"127.0.0.1:{port}")
    ready.start()
    with connect(ready) as client:
        queue = Queue.create(client, subscribe=False)
        for _ in range(N_SENT):
            assert queue.send(client, b"x").raw == b"OK"
    return port


def ask(port, path="/metrics", method="GET", body=None, headers=None):
    """Status, headers, body."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    conn.request(method, path, body, headers or {})
    answer = conn.getresponse()
    out = answer.status, answer.headers, answer.read().decode()
    conn.close()
    return out


def samples(text):
    """Names to values of a text of metrics, labels as they are written."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, value in pairs}


def names(text):
    """Names of the metrics of a text."""
    return set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))


def test_answers(port):
    """One path, two methods, whatever host is asked for."""
    status, headers, text = ask(port)
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(text)["simplex_smp_messages_sent"] == N_SENT
    status, headers, nothing = ask(port, method="HEAD", headers={"Host": "elsewhere.example"})
    assert (status, nothing) == (200, "") and int(headers["Content-Length"]) > 1000
    assert ask(port, "/metrics?x=y")[0] == 200
    for path in ("/", "/metrics/", "/metricsx", "/../metrics"):
        assert ask(port, path)[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _ = ask(port, method=method, body="x" * 1000)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_bad_clients(port):
    """Too many connections, too long requests, silence: others are answered all the same."""
    idle = [socket.create_connection(("127.0.0.1", port), TIMEOUT) for _ in range(8)]
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100000)
        try:
            assert sock.recv(100) == b"" or b" 4" in sock.recv(0) + b" 4"
        except ConnectionError:
            pass
    assert ask(port)[0] == 200
    for sock in idle:
        sock.close()


def test_strangers_make_room(port):
    """Who connects and says nothing, or a byte now and then, gives way, the oldest first; it is counted."""
    held = [socket.create_connection(("127.0.0.1", port), TIMEOUT) for _ in range(40)]
    for sock in held[-16:]:
        sock.sendall(b"GET /met")
    status, _, text = ask(port)
    assert status == 200
    assert samples(text)['simplex_smp_limits_reached_total{limit="metrics_connections"}'] == 25
    assert held[0].recv(1) == b""
    held[-1].sendall(b"rics HTTP/1.0\r\n\r\n")
    assert held[-1].recv(12) == b"HTTP/1.1 200"
    for sock in held:
        sock.close()


def test_reference_names(port):
    """Every metric of the reference is there under its name."""
    assert names(SAMPLE.read_text()) <= names(ask(port)[2])


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "[::]"])
def test_loopback_only(ready, address):
    """No other address than one of this machine itself."""
    ready.set("TRANSPORT", "metrics", f"{address}:{free_port()}")
    assert "metrics" in ready.refuse_start()


def test_port_in_use(ready):
    """A clear line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        ready.set("TRANSPORT", "metrics", f"127.0.0.1:{number}")
        line = ready.refuse_start()
    assert str(number) in line and "[TRANSPORT] metrics" in line


# ---- Prometheus ----

@needs_prometheus
def test_promtool(port):
    """It understands all, and complains of nothing but how the reference has named things."""
    text = ask(port)[2]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False)
    assert done.returncode in (0, 3), done.stderr  # 3: understood, with remarks
    reference = names(SAMPLE.read_text()) | names(SAMPLE_7.read_text())
    for line in (done.stdout + done.stderr).splitlines():
        name, remark = line.split(" ", 1)
        assert name in reference and "suffix" in remark, line


def query(port, expression):
    """The value of an expression, or None while there is none."""
    path = "/api/v1/query?query=" + expression.replace("{", "%7B").replace("}", "%7D")
    result = json.loads(ask(port, path)[2])["data"]["result"]
    return float(result[0]["value"][1]) if result else None


@needs_prometheus
def test_scraped_by_prometheus(port, tmp_path):
    """A real one finds the server up, and its counters."""
    own = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
                      "scrape_configs:\n"
                      "  - {job_name: smp-server, static_configs: "
                      f"[{{targets: ['127.0.0.1:{port}']}}]}}\n")
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
             f"--web.listen-address=127.0.0.1:{own}"], stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + TIMEOUT
            sent = None
            while sent is None:
                assert process.poll() is None and time.monotonic() < deadline, (
                    (tmp_path / "log").read_text())
                time.sleep(0.2)
                try:
                    sent = query(own, "simplex_smp_messages_sent")
                except (OSError, http.client.HTTPException, KeyError, ValueError):
                    continue
            assert sent == N_SENT
            assert query(own, "up{}") == 1
        finally:
            process.kill()


# ---- dashboards ----

def expressions(node):
    """All values of "expr" in a dashboard."""
    if isinstance(node, dict):
        if "expr" in node:
            yield node["expr"]
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def test_dashboard_of_prometheus(port):
    """Each expression names metrics that the server has."""
    text = ask(port)[2]
    known = names(text) | {re.split(r"[{ ]", line)[0] for line in text.splitlines()
                           if line and line[0] != "#"}
    dashboard = json.loads((DASHBOARDS / "smp-server-prometheus.json").read_text())
    found = list(expressions(dashboard))
    assert len(found) > 20
    for expression in found:
        used = re.findall(r"\b(?:simplex|process)_\w+", expression)
        assert used and set(used) <= known, expression


def test_dashboard_of_the_csv():
    """Each column that it shows has the name of the column of this number."""
    table = (REPO / "docs" / "generated" / "statistics.md").read_text()
    columns = {f"Field {n}": name
               for n, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.MULTILINE)}
    assert len(columns) == 101
    dashboard = json.loads((DASHBOARDS / "smp-server-csv.json").read_text())
    n_shown = 0
    for panel in dashboard["panels"]:
        shown = {rule["matcher"]["options"]: rule["properties"][0]["value"]
                 for rule in panel["fieldConfig"]["overrides"]}
        for target in panel.get("targets", []):
            date, *fields = [field["name"] for field in target["schema"]]
            assert date == "Field 1" and set(fields) == set(shown)
        for field, name in shown.items():
            assert columns[field] == name
            n_shown += 1
    assert n_shown > 40


# ---- node_exporter ----


def wait_for(condition):
    """Gives what condition() gives as soon as it is true."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def scrape(port):
    """What the exporter answers; None while it does not."""
    try:
        return ask(port)[2]
    except OSError:
        return None


@pytest.mark.skipif(shutil.which("prometheus-node-exporter") is None,
                    reason="node_exporter is not installed: tools/deps test")
def test_node_exporter(ready):
    """As docs/MONITORING.md has it: a link in the collector's directory, another user; every metric
    but those of the process arrives, with its value."""
    user = as_nobody(ready)
    ready.set("STORE_LOG", "prometheus_interval", "1")
    ready.start()
    with connect(ready) as client:
        Queue.create(client, subscribe=False)
    made = ready.state / "smp-server-metrics.prom"
    wait_for(lambda: made.exists() and "simplex_smp_queues_created 1\n" in made.read_text())
    ready.state.chmod(0o711)  # what setfacl does for one user
    place, port = ready.root / "collector", free_port()
    place.mkdir()
    (place / "smp-server.prom").symlink_to(made)
    exporter = subprocess.Popen(
        ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}",
         f"--collector.textfile.directory={place}"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)
    try:
        text = wait_for(lambda: scrape(port))
    finally:
        exporter.kill()
        exporter.wait()
    assert "\nnode_textfile_scrape_error 0\n" in text
    assert samples(text)["simplex_smp_queues_created"] == 1
    assert names(SAMPLE.read_text()) <= names(text)
    ours = names((ready.state / "smp-server-metrics.txt").read_text())
    assert {name for name in ours if not name.startswith("process_")} <= names(text)


def test_file_for_the_exporter(ready):
    """Nobody else than those who may pass the directory can read it, but they can: no secret is in
    it; the reference's file is as it was."""
    ready.set("STORE_LOG", "prometheus_interval", "1")
    ready.start()
    made = ready.state / "smp-server-metrics.prom"
    wait_for(made.exists)
    assert made.stat().st_mode & 0o444 == 0o444 & ~umask()
    lines = [line for line in made.read_text().splitlines() if line and line[0] != "#"]
    assert lines and not any(re.search(r" \d{13}$", line) for line in lines)
    assert not any(line.startswith("process_") for line in lines)
    text = (ready.state / "smp-server-metrics.txt").read_text()
    assert re.search(r"^simplex_smp_queues_created 0 \d{13}$", text, re.MULTILINE)


def umask():
    """Of this process."""
    now = os.umask(0)
    os.umask(now)
    return now
