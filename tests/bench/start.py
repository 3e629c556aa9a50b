#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Time and memory of a start with many queues.

Writes a store log of N queues (as they are in use: secured, Ed25519 and X25519 keys; a tenth with a line that compaction removes),
starts the server on it twice, and prints the time until it serves, the processor time of that, and its memory then: the log is
compacted after that. Exit status 1 above the limits.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode

SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")
SPKI_X25519 = bytes.fromhex("302a300506032b656e032100")
DAY_S = 86400


def text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode()


def write_log(path: str, queues: int) -> None:
    """One CREATE line a queue, as the reference writes them when it compacts its log, and something to
    remove."""
    today = int(time.time()) // DAY_S * DAY_S
    with open(path, "w", encoding="ascii", buffering=1 << 20) as log:
        for nth in range(queues):
            r = os.urandom(24 + 32 + 32 + 24 + 32)
            log.write(
                f"CREATE rid={text(r[:24])} rk={text(SPKI_ED25519 + r[24:56])} rdh={text(r[56:88])}"
                f" sid={text(r[88:112])} sk={text(SPKI_X25519 + r[112:144])}"
                f" queue_mode=M updated_at={today}\n"
            )
            if nth % 10 == 0:
                log.write(f"TIME {text(r[:24])} {today}\n")


def status_kib(pid: int, field: str) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise RuntimeError(f"no {field}")


def cpu_seconds(pid: int) -> float:
    """What the process has used: the machine's other work does not count."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(binary: str, env: dict) -> tuple:
    """(seconds until it serves, of CPU until then, VmRSS, VmHWM in KiB); the server is stopped
    again."""
    begun = time.monotonic()
    server = subprocess.Popen([binary, "start"], env=env, stdout=subprocess.PIPE, text=True)
    try:
        for line in server.stdout:
            if line.startswith("Serving SMP protocol"):
                break
        else:
            sys.exit(f"server ended with status {server.wait()} before it served")
        seconds, cpu = time.monotonic() - begun, cpu_seconds(server.pid)
        return seconds, cpu, status_kib(server.pid, "VmRSS"), status_kib(server.pid, "VmHWM")
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)


def set_port(ini: str, port: int) -> None:
    with open(ini, encoding="utf-8") as f:
        lines = [f"port = {port}\n" if line.startswith("port = ") else line for line in f]
    assert f"port = {port}\n" in lines
    with open(ini, "w", encoding="utf-8") as f:
        f.writelines(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1_000_000, help="queues")
    parser.add_argument("--server-binary", default="build/smp-server")
    parser.add_argument("--port", type=int, default=15229)
    parser.add_argument("--limit-s", type=float, default=2.0)
    parser.add_argument("--limit-mb", type=float, default=300.0)
    args = parser.parse_args()
    binary = os.path.abspath(args.server_binary)
    ok = True
    with tempfile.TemporaryDirectory(prefix="bench-start-") as root:
        env = dict(os.environ, SMP_SERVER_CFG_PATH=root + "/etc", SMP_SERVER_LOG_PATH=root + "/var")
        subprocess.run(
            [binary, "init", "-y", "--ip", "127.0.0.1", "--no-password"], env=env, check=True,
            stdout=subprocess.DEVNULL,
        )
        set_port(root + "/etc/smp-server.ini", args.port)
        log = root + "/var/smp-server-store.log"
        write_log(log, args.n)
        print(f"{args.n} queues, store log of {os.path.getsize(log) / 1e6:.0f} MB")
        for nth in ("first", "second"):
            seconds, cpu, rss, peak = start(binary, env)
            print(
                f"{nth} start: {seconds:.2f} s until it serves (CPU {cpu:.2f} s), {rss * 1024 / 1e6:.0f} MB"
                f" ({rss * 1024 / args.n:.0f} bytes a queue), peak {peak * 1024 / 1e6:.0f} MB"
            )
            ok = ok and seconds <= args.limit_s and rss * 1024 / 1e6 <= args.limit_mb
    print(f"limits: {args.limit_s} s, {args.limit_mb} MB: {'kept' if ok else 'NOT KEPT'}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
