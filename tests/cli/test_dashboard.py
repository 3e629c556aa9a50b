# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dashboard: who is let in, what is answered, and that its figures are those of the control
port. How its page looks and behaves in a browser is in tests/web."""

import base64
import gzip
import http.client
import json
import re
import select
import signal
import socket
import time
import urllib.request
from contextlib import ExitStack

import pytest
from control import USER, Control, use
from program import TIMEOUT, free_port
from smp_client import connect
from test_check import check
from test_https import Web

from smp import Queue

N_SENT = 7
FILES = {"/": "text/html; charset=utf-8", "/index.html": "text/html; charset=utf-8",
         "/index.en.html": "text/html; charset=utf-8", "/dashboard.css": "text/css; charset=utf-8",
         "/dashboard.js": "text/javascript; charset=utf-8", "/icon.svg": "image/svg+xml",
         "/uplot.txt": "text/plain; charset=utf-8"}


def basic(password, name="anybody"):
    """The field of a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


KNOWN = basic(USER)


@pytest.fixture(name="port")
def fixture_port(ready):
    """Where the dashboard of a running server is, which ends well."""
    port = free_port()
    ready.set("WEB", "dashboard", f"127.0.0.1:{port}")
    ready.set("TRANSPORT", "host", "smp.example.org")
    ready.control, ready.metrics = free_port(), free_port()
    ready.set("TRANSPORT", "metrics", f"127.0.0.1:{ready.metrics}")
    use(ready, ready.control)
    ready.server = ready.start()
    yield port
    if ready.server.process.poll() is None:
        ready.server.stop()


def connection(port, host="127.0.0.1"):
    """To the dashboard."""
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT)


def ask(port, path="/", headers=None, method="GET", conn=None, body=None):
    """Status, headers, body."""
    own = conn or connection(port)
    own.request(method, path, body, KNOWN if headers is None else headers)
    answer = own.getresponse()
    out = answer.status, answer.headers, answer.read()
    if conn is None:
        own.close()
    return out


def data(port, query=""):
    """The figures."""
    return json.loads(ask(port, "/data.json" + query)[2])


def test_files(port):
    """All that the page is made of, with a password, and nothing without."""
    for path, kind in FILES.items():
        status, headers, body = ask(port, path)
        assert (status, headers["Content-Type"]) == (200, kind) and body, path
        assert headers["Cache-Control"] == "no-cache"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        same = ask(port, path, {**KNOWN, "If-None-Match": headers["ETag"]})
        assert (same[0], same[2]) == (304, b"")
        head = ask(port, path, method="HEAD")
        assert (head[0], head[2], int(head[1]["Content-Length"])) == (200, b"", len(body))
        status, headers, body = ask(port, path, {})
        assert status == 401 and headers["WWW-Authenticate"].startswith("Basic "), path
        assert b"control_port_user_password" in body and b"<" not in body
    for path in ("/x", "/index.de.html", "/data.json/", "//data.json", "/dashboard", "/../etc"):
        assert ask(port, path)[0] == 404, path
    for lang in ("en", "fr", "ja"):
        status, headers, body = ask(port, "/", {**KNOWN, "Accept-Language": lang})
        assert headers["Content-Language"] == lang and f'lang="{lang}"'.encode() in body
        assert b"{{" not in body and b"[[" not in body
    coded = ask(port, "/dashboard.js", {**KNOWN, "Accept-Encoding": "gzip"})
    assert coded[1]["Content-Encoding"] == "gzip"
    assert gzip.decompress(coded[2]) == ask(port, "/dashboard.js")[2]


def test_methods(port):
    """It is only read, and no body is."""
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _ = ask(port, "/data.json", method=method, body="x" * 1000)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert ask(port, "/data.json", body="x")[0] == 413


def value_of(lines, name):
    """Of a line of the control port."""
    return int(next(line for line in lines if line.startswith(f"{name}: ")).split()[1])


def test_figures(ready, port):
    """Those of the control port, and what was done."""
    began = data(port)
    assert began["steps"][0]["time"] == [] and began["certificate_days"]["web"] is None
    with connect(ready) as client:
        queue = Queue.create(client, subscribe=False)
        for _ in range(N_SENT):
            assert queue.send(client, b"x").raw == b"OK"
        assert client.request(b"RSLV a.simplex").raw == b"ERR NAME NO_RESOLVER"
        until = time.monotonic() + TIMEOUT
        while (now := data(port))["steps"][0]["messages"][-1:] != [N_SENT]:
            assert time.monotonic() < until
            time.sleep(0.2)
        with Control(ready.control, USER) as control:
            stats = control.lines("stats")
        fine = now["steps"][0]
        assert fine["queues"][-1] == value_of(stats, "qCount") == 1
        assert fine["messages"][-1] == value_of(stats, "msgCount") == N_SENT
        assert fine["clients"][-1] == 1
        step_s = fine["time"][0] - now["began"]
        assert abs(sum(fine["messages_sent"]) * step_s - value_of(stats, "msgSent")) < 2
    assert now["version"] in ready.run("--version").stdout and now["name"] == "smp.example.org"
    assert abs(now["now"] - time.time()) < 30 and abs(now["started"] - time.time()) < 60
    assert now["certificate_days"]["smp"] > 300000 and now["storage_state"] == 0
    assert fine["memory_bytes"][-1] > 1e6 and fine["storage_bytes"][-1] > 0
    assert fine["storage_free_bytes"][-1] > 1e6
    assert sum(fine["names_failed"]) == 1 and sum(fine["names_found"]) == 0
    assert fine["proxy_errors_connect"][-1] == 0 and 0 < fine["answer_p50_ms"][-1] < 10000
    assert {len(v) for v in fine.values() if isinstance(v, list)} == {len(fine["time"])}
    assert now["steps"][1]["step"] == 60 and now["steps"][1]["time"] == []
    newest = fine["time"][-1]
    assert data(port, f"?since={newest - 1}")["steps"][0]["time"][:1] == [newest]
    assert newest not in data(port, f"?since={newest}")["steps"][0]["time"]
    assert data(port, "?since=999999999999999")["steps"][0]["time"] == []
    for bad in ("", "x", "-1", "1.5", "1e9", "9999999999999999", "1%00x"):
        assert ask(port, f"/data.json?since={bad}")[0] == 400, bad
    status, headers, _ = ask(port, "/data.json")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert headers["Content-Type"] == "application/json"
    assert "Access-Control-Allow-Origin" not in headers


def raw(port, request):
    """The status of the answer to some bytes; 0: none."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        try:
            sock.sendall(request)
            first = sock.recv(1 << 16).split(b"\r\n")[0]
        except ConnectionError:
            first = b""
    return int(first.split()[1]) if first else 0


def test_hosts(port):
    """Names of others that lead here are not ours: else their pages could read the answers."""
    for host in ("127.0.0.1", f"localhost:{port}", "LOCALHOST:9000", "[::1]:80", "127.1.2.3"):
        assert ask(port, headers={**KNOWN, "Host": host})[0] == 200, host
    for host in ("evil.example", f"127.0.0.1.evil.example:{port}", "192.0.2.1", "[::2]", ""):
        assert ask(port, headers={**KNOWN, "Host": host})[0] in (400, 421), host
    field = b"Authorization: " + KNOWN["Authorization"].encode() + b"\r\n"
    assert raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + field + b"\r\n") == 200
    assert raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: a.b\r\n" + field + b"\r\n") >= 400
    assert raw(port, b"GET / HTTP/1.0\r\n" + field + b"\r\n") >= 400


def test_other_pages(port):
    """May lead here, and do nothing else, not even guess."""
    page = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for site in ("cross-site", "same-site"):
        asked = {**KNOWN, "Sec-Fetch-Site": site}
        assert ask(port, "/", {**asked, **page})[0] == 200
        assert ask(port, "/data.json", {**asked, **page})[0] == 403
        assert ask(port, "/dashboard.js", {**asked, "Sec-Fetch-Mode": "no-cors"})[0] == 403
        assert ask(port, "/", {**asked, **page, "Sec-Fetch-Dest": "iframe"})[0] == 403
        for _ in range(5):
            wrong = {**asked, **basic("wrong"), "Sec-Fetch-Mode": "no-cors"}
            assert ask(port, "/data.json", wrong)[0] == 403
    for site in ("same-origin", "none"):
        assert ask(port, "/data.json", {**KNOWN, "Sec-Fetch-Site": site})[0] == 200


def begin(port, field):
    """A connection on which a password was sent; its answer is not read."""
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    sock.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {field['Authorization']}"
                 "\r\n\r\n".encode())
    return sock


def test_guessing(ready, port):
    """Gets slower and slower, however many connections guess; the right one is not behind them."""
    began = time.monotonic()
    for given in ("wrong", "", USER[:-1], USER + "x"):
        status, headers, _ = ask(port, headers=basic(given))
        assert (status, headers["Connection"]) == (401, "close")
        last = time.monotonic()
    assert last - began > 1.7  # 0.25, 0.5 and 1 s
    with ExitStack() as stack:
        fields = [basic(f"guess{i}") for i in range(5)] + [KNOWN]
        waiting = [stack.enter_context(begin(port, field)) for field in fields]
        assert ask(port, headers={})[0] == 401  # no guess, no waiting
        for sock in waiting[:-1]:
            assert b" 401 " in sock.recv(100)
        assert b" 200 " in waiting[-1].recv(100)
        assert 1.9 < time.monotonic() - last < 3.9  # they were looked at together
    lines = [line for line in ready.server.err if "dashboard password=wrong" in line]
    assert 1 <= len(lines) <= 4


def is_quick(port, known):
    """Is a known connection answered while a stranger has to wait?"""
    ask(port, headers=basic("wrong"))
    with begin(port, basic("wrong")) as stranger:
        assert ask(port, "/data.json", conn=known)[0] == 200
        return not select.select([stranger], [], [], 0)[0]


def test_known_connections(ready, port):
    """Do not wait, whoever guesses; nor does the end of the server."""
    known = connection(port)
    assert ask(port, conn=known)[0] == 200
    for _ in range(3):
        ask(port, headers=basic("wrong"))
    # On a machine that stops for seconds the stranger's time may be over.
    assert any(is_quick(port, known) for _ in range(4))
    known.request("GET", "/", headers=basic("wrong"))
    answer = known.getresponse()
    assert answer.status == 401 and answer.headers["Connection"] == "close"
    with begin(port, basic("wrong")):
        ready.server.stop()


def test_strangers_make_room(ready, port):
    """Who connects and says nothing, or half of something, goes before one who was let in;
    which is counted."""
    with ExitStack() as stack:
        known = connection(port)
        stack.callback(known.close)
        assert ask(port, conn=known)[0] == 200
        sock = known.sock
        strangers = [stack.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT))
                     for _ in range(40)]
        for stranger in strangers[-14:]:
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: 127.0")
        for stranger in strangers:
            while stranger.recv(4096):
                pass
        assert ask(port, conn=known)[0] == 200 and known.sock is sock
    with urllib.request.urlopen(f"http://127.0.0.1:{ready.metrics}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    name = 'simplex_smp_limits_reached_total{limit="dashboard_connections"}'
    assert int(re.search(re.escape(name) + r" (\d+)", text)[1]) == 25


def test_hostile(port):
    """Silence, floods and garbage; then others are answered all the same."""
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT))
        assert ask(port)[0] == 200
    assert raw(port, b"GET / HTTP/1.1\r\nX: " + b"x" * 100000) in (0, 400, 413, 431)
    assert raw(port, b"\x16\x03\x01\x02\x00" + b"\x00" * 600 + b"\r\n\r\n") in (0, 400, 405, 421)
    field = b"Authorization: Basic " + b"A" * 8000
    assert raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + field + b"\r\n\r\n") == 401
    chunked = b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
    assert raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + chunked) in (0, 400, 413)
    assert ask(port)[0] == 200


def test_password(ready):
    """Without one nobody is let in, and both start and check say so; a reload brings it."""
    port = free_port()
    ready.set("WEB", "dashboard", f"[::1]:{port}")
    said = "[WEB] dashboard has no effect without [AUTH] control_port_user_password: set that too"
    assert any(said in item["text"] for item in check(ready)["items"])
    server = ready.start()
    assert any(said in line for line in server.err)
    assert any(f"http://[::1]:{port}/" in line for line in server.out)
    conn = connection(port, "::1")
    assert ask(port, conn=conn)[0] == 403
    assert ask(port, headers=basic(""), conn=conn)[0] == 403
    for password in (USER, "another"):
        ready.set("AUTH", "control_port_user_password", password)
        server.process.send_signal(signal.SIGHUP)
        server.wait("settings=new", server.err)
        server.err.clear()
        status, _, body = ask(port, headers=basic(password), conn=conn)
        assert status == 200 and b"</html>" in body
        assert ask(port, headers=basic(password + "x"), conn=conn)[0] == 401
        conn = connection(port, "::1")
    ready.set("AUTH", "control_port_admin_password", "admin")
    server.process.send_signal(signal.SIGHUP)
    server.wait("settings=new", server.err)
    assert ask(port, headers=basic("admin"), conn=conn)[0] == 401
    server.stop()


@pytest.mark.parametrize("address", ["0.0.0.0:8001", "192.0.2.1:8001", "[::]:8001", "8001",
                                     "localhost:8001", "on"])
def test_loopback_only(ready, address):
    """No other address than one of this machine itself."""
    ready.set("WEB", "dashboard", address)
    line = ready.refuse_start()
    assert "[WEB] dashboard" in line and "a loopback address and a port" in line


def test_port_in_use(ready):
    """By another program, or by the settings themselves."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        ready.set("WEB", "dashboard", f"127.0.0.1:{number}")
        line = ready.refuse_start()
        assert str(number) in line and "[WEB] dashboard" in line
    ready.set("TRANSPORT", "metrics", f"127.0.0.1:{number}")
    line = ready.refuse_start()
    assert f"[TRANSPORT] metrics and [WEB] dashboard are both {number}" in line


def test_init(program):
    """Off unless asked for; then with a password of its own."""
    program.init("--dashboard")
    text = program.ini.read_text()
    assert "\ndashboard = 127.0.0.1:8001\n" in text and "\ncontrol_port = " not in text
    assert "\ncontrol_port_user_password = " in text
    assert "\ncontrol_port_admin_password = " not in text
    program.ini.unlink()
    program.init("--dashboard=[::1]:9999", "--keep-identity")
    assert "\ndashboard = [::1]:9999\n" in program.ini.read_text()
    assert "dashboard = [::1]:9999" in program.run("start", "--print-config").stdout
    program.ini.unlink()
    assert "must be off, or a loopback address" in program.refuse(
        "init", "-y", "--dashboard=0.0.0.0:80", "--keep-identity")


def test_days_of_web_certificate(ready):
    """Of the file that is served, and of the one in its place after a reload."""
    port, web = free_port(), Web(ready)
    ready.set("WEB", "dashboard", f"127.0.0.1:{port}")
    use(ready, free_port())
    web.make(days=30)
    web.start()

    def wait_for(days):
        until = time.monotonic() + TIMEOUT
        while data(port)["certificate_days"]["web"] not in (days - 1, days):
            assert time.monotonic() < until
            time.sleep(0.2)

    wait_for(30)
    web.make(days=60)
    web.reload()
    wait_for(60)
    web.server.stop()
