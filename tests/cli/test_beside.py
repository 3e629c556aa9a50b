# SPDX-License-Identifier: AGPL-3.0-or-later
"""A port that is shared with other sites: HAProxy in front, as docs/guide/pages.md has it."""

import re
import shutil
import subprocess
import time
import types

import pytest
from program import TIMEOUT, free_port
from test_https import ALPNS, NAMED, NAMELESS, Web, what_is_spoken
from web_client import HOST, dial, leaf_of, make_pair

from smp.server import REPO

OTHER = "www.example.com"
pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="no haproxy")


def started(words, port):
    """A program that listens there."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            dial(port, OTHER).close()
            return process
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, words
            time.sleep(0.05)


@pytest.fixture(name="front")
def fixture_front(ready, tmp_path):
    """HAProxy with the guide's file before smp-server and another site: what `what_is_spoken` needs, and that site's certificate."""
    web, other, port = Web(ready), free_port(), free_port()
    web.make()
    web.start()
    make_pair(tmp_path / "other.crt", tmp_path / "other.key", host=OTHER)
    text = re.search(r"```conf haproxy\.cfg\n(.*?)```", (REPO / "docs/guide/pages.md").read_text(), re.DOTALL)[1]
    for in_guide, here in ((":443\n", f"127.0.0.1:{port}\n"), (":8443\n", f":{web.port}\n"), (":4443\n", f":{other}\n")):
        assert text.count(in_guide) == 1
        text = text.replace(in_guide, here)
    (tmp_path / "haproxy.cfg").write_text(text)
    processes = []
    try:
        processes.append(started(["openssl", "s_server", "-quiet", "-www", "-accept", f"127.0.0.1:{other}",
                                  "-cert", tmp_path / "other.crt", "-key", tmp_path / "other.key"], other))
        processes.append(started(["haproxy", "-q", "-f", tmp_path / "haproxy.cfg"], port))
        yield types.SimpleNamespace(port=port, crt=web.crt, program=web.program), leaf_of(tmp_path / "other.crt")
    finally:
        for process in processes:
            process.terminate()
            process.wait(TIMEOUT)


def test_haproxy(front):
    """Each gets what it would get without it, and the other site what is its own."""
    web, others_leaf = front
    for names, alpn in ALPNS.items():
        assert what_is_spoken(web, HOST, alpn) == NAMED[names], names
        assert what_is_spoken(web, None, alpn) == NAMELESS[names], names
        with dial(web.port, OTHER.upper(), alpn) as tls:
            assert tls.getpeercert(binary_form=True) == others_leaf
