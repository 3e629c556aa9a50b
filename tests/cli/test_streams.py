# SPDX-License-Identifier: AGPL-3.0-or-later
"""Standard input, output and error: closed, a pipe that nobody reads, the journal of systemd."""

import os
import signal
import subprocess
import time
from datetime import datetime, timezone

import pytest
from program import ALL_IS_WELL, TIME, TIMEOUT, check_sanitizers, untimed

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def spawn(words, environment, closed):
    """A process that begins with these descriptors closed."""
    return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            preexec_fn=lambda: [os.close(fd) for fd in closed])


def wait_served(program, process):
    """Until its port answers."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return program.connect().close()
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("closed", [(0,), (2,), (1, 2), (0, 1, 2)])
def test_start_with_closed_descriptors(ready, closed):
    """They are /dev/null then, and no file gets what would be printed."""
    process = spawn([ready.binary, "start"], ready.environment, closed)
    try:
        wait_served(ready, process)
        for fd in closed if os.geteuid() == 0 else ():  # others may not look into it
            assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
    for path in ready.state.iterdir():
        assert path.is_dir() or b"info" not in path.read_bytes()
    ready.start().stop()


@pytest.mark.parametrize("words", [
    ["start", "-m"], ["start", "--print-config"], ["check"], ["address"], ["cert", "-y"],
    ["journal", "export", "-y"], ["journal", "delete", "-y"], ["init"], ["nonsense"], ["-h"],
])
def test_commands_with_closed_descriptors(ready, words):
    """The same status as otherwise, and no file gets what they print."""
    ready.start().stop()
    ini, log = ready.ini.read_bytes(), (ready.state / "smp-server-store.log").read_bytes()
    status = spawn([ready.binary, *words], ready.environment, (0, 1, 2)).wait(TIMEOUT)
    assert status in (0, 1)
    assert ready.ini.read_bytes() == ini
    assert (ready.state / "smp-server-store.log").read_bytes() == log
    assert ready.run("check").stdout.endswith(ALL_IS_WELL)


def test_init_with_closed_descriptors(program):
    """The settings file begins with settings."""
    assert spawn([program.binary, "init", "-y"], program.environment, (0, 1, 2)).wait(TIMEOUT) == 0
    assert program.ini.read_text().startswith("# Settings of smp-server.")
    program.run("address")


def test_bench_with_closed_descriptors(ready):
    """smp-bench too."""
    server = ready.start()
    fingerprint = (ready.config / "fingerprint").read_text().strip()
    words = [os.path.join(os.path.dirname(ready.binary), "smp-bench"), "create",
             f"smp://{fingerprint}@127.0.0.1:{ready.port}", "--count", "10", "--warm-up", "0"]
    assert spawn(words, ready.environment, (0, 1, 2)).wait(TIMEOUT) == 0
    server.stop()


def test_output_to_nobody(ready):
    """A pipe whose reader has gone does not end the start."""
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen([ready.binary, "start"], env=ready.environment, stdout=writer,
                               stderr=writer, stdin=subprocess.DEVNULL)
    os.close(writer)
    try:
        wait_served(ready, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()


def test_log_lines_have_a_time(ready):
    """UTC, to the second."""
    server = ready.start()
    server.stop()
    assert server.timed and not any(line in server.timed for line in server.err)
    for line in server.timed:
        then = datetime.strptime(line.split(" ")[0], TIME_FORMAT).replace(tzinfo=timezone.utc)
        assert abs((datetime.now(timezone.utc) - then).total_seconds()) < 2 * TIMEOUT
    assert untimed("".join(server.timed)) == "".join(server.err)


@pytest.mark.parametrize("is_journal", [True, False])
def test_the_journal_adds_its_own(ready, is_journal):
    """systemd names the stream; a variable that names another one says nothing."""
    reader, writer = os.pipe()
    stat = os.fstat(writer)
    stream = f"{stat.st_dev}:{stat.st_ino if is_journal else stat.st_ino + 1}"
    done = subprocess.run([ready.binary, "start", "-m"], stderr=writer, stdout=subprocess.DEVNULL,
                          env=dict(ready.environment, JOURNAL_STREAM=stream), timeout=TIMEOUT,
                          check=True, stdin=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    check_sanitizers(text)
    assert done.returncode == 0
    assert bool(TIME.match(text)) is not is_journal
    assert "info store queues=0 messages=0\n" in text
