# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server init` that asks: on a terminal, and with answers from a pipe."""

import errno
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest
from golden import check_golden, normalize
from program import TIMEOUT, check_sanitizers

ENTER = "SMP server will be initialized (press Enter)"
STORE = "Enable store log to restore queues and messages on server restart (Yn): "
STATS = "Enable logging daily statistics (yN): "
PASSWORD = ("Require a password to create new messaging queues?\n"
            "'r' for random (default), 'n' - no password (recommended for public servers), or "
            "enter password: ")
HOST = "Enter server FQDN or IP address for certificate (127.0.0.1): "
SOURCE = "Enter server source code URI (none): "
PAGES = "Enter path to store generated server pages to show connection links ({state}/www): "
BAD_PASSWORD = ("The answer must be 1 to 255 printable ASCII characters other than space, @, : "
                "and /")
QUESTIONS = [ENTER, STORE, STATS, PASSWORD, HOST, SOURCE, PAGES]


def ask(program, answers, *words, status=0):
    """`init` with these lines as its input."""
    done = subprocess.run([program.binary, "init", *words], env=program.environment, input=answers,
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)
    check_sanitizers(done.stderr)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def settings(program):
    """What the settings file says: keys to values."""
    pairs = (line.partition("=") for line in program.ini.read_text().splitlines()
             if line and line[0] not in "#[")
    return {key.strip(): value.strip() for key, _, value in pairs}


def test_defaults(program):
    """Enter everywhere: the questions in their order, and what -y would have made."""
    out = ask(program, "\n" * len(QUESTIONS)).stdout
    asked = "".join(QUESTIONS).replace("{state}", str(program.state))
    assert out.startswith(f"Use `smp-server init -h` for available options.\n{asked}Server init")
    made = settings(program)
    assert made["enable"] == "on" and made["store_messages"] == "journal"
    assert len(made["create_password"]) == 44 and made["host"] == "<hostnames>"
    check_golden("init-asks.txt", normalize(out, program))


@pytest.mark.parametrize("answers, expected", [
    ("\ny\nY\nr\nsmp.example\nhttps://example.org/src\n/srv/www\n",
     {"enable": "on", "host": "smp.example"}),
    ("\nn\nn\nn\n192.168.1.5\n\n\n",
     {"enable": "off", "host": "192.168.1.5", "create_password": None}),
    ("\n \t\n\n  secret \r\n2001:db8::1\n\n\n",
     {"enable": "on", "host": "[2001:db8::1]", "create_password": "secret"}),
])
def test_answers(program, answers, expected):
    """Each answer is in the settings file."""
    ask(program, answers)
    made = settings(program)
    for key, value in expected.items():
        assert made.get(key) == value, key


@pytest.mark.parametrize("number, wrong, message", [
    (1, "maybe", "Please answer `y` or `n`, or press Enter for `y`"),
    (2, "yes", "Please answer `y` or `n`, or press Enter for `n`"),
    (1, "x" * 5000, "Please answer `y` or `n`, or press Enter for `y`"),
    (3, "a b", BAD_PASSWORD),
    (3, "a@b", BAD_PASSWORD),
    (3, "x" * 256, "The answer is too long: it must be at most 255 characters"),
    (4, "a b", "The answer must be a host name of at most 64 characters, or several separated by "
               "commas"),
    (4, "x" * 65, "The answer must be a host name of at most 64 characters, or several separated "
                  "by commas"),
    (5, "example.org", "The answer must be an address that begins with https:// or http://"),
])
def test_wrong_answers(program, number, wrong, message):
    """One line says what is allowed, and the question comes again."""
    answers = [""] * len(QUESTIONS)
    out = ask(program, "\n".join([*answers[:number], wrong, *answers[number:]]) + "\n").stdout
    question = QUESTIONS[number].splitlines()[-1].replace("{state}", str(program.state))
    assert f"{question}{message}\n{question}" in out
    assert program.ini.exists()


@pytest.mark.parametrize("count", range(len(QUESTIONS)))
def test_input_ends(program, count):
    """After any number of answers: nothing is made."""
    done = ask(program, "\n" * count, status=1)
    assert done.stderr == "Error: nothing was done: the input ended before the answer\n"
    assert program.files() == {}


def test_options_are_defaults(program):
    """Enter stands for what the options say, which the questions show."""
    done = ask(program, "\n" * len(QUESTIONS), "--disable-store-log", "-s", "--password", "secret",
               "-n", "smp.example", "--source-code=https://example.org", "--web-path", "/srv/www")
    for part in ("on server restart (yN): ", "statistics (Yn): ", "(default is that of the option)",
                 "(smp.example): ", "(https://example.org): ", "(/srv/www): "):
        assert part in done.stdout
    made = settings(program)
    assert made["enable"] == "off" and made["create_password"] == "secret"
    assert made["host"] == "smp.example"


def test_answers_override_options(program):
    """A password in place of none, and the reverse."""
    ask(program, "\n\n\nnew\nother.example\n\n\n", "--no-password", "--ip", "192.0.2.1")
    made = settings(program)
    assert made["create_password"] == "new" and made["host"] == "other.example"


def test_options_are_checked_first(program):
    """Before anything is asked."""
    assert "--ip must be an IPv4 or IPv6 address" in program.refuse("init", "--ip", "x")
    assert program.files() == {}


# ---- on a terminal ----


# Runs the program as a shell does. Where the program were the leader of the terminal's session, the
# kernel may throw away at its end what has not been read: this one stays until all has been.
LEADER = """trap : INT
"$@"
echo $? >"$STATUS.new" && mv "$STATUS.new" "$STATUS"
while read -r _; do :; done"""


class Terminal:
    """The program with a pseudo-terminal as input, output and error."""

    def __init__(self, program, *words):
        self.shown = ""
        self.status = program.root.with_name(f"{program.root.name}.status")
        environment = dict(program.environment, STATUS=str(self.status))
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve("/bin/sh", ["sh", "-c", LEADER, "sh", program.binary, *words], environment)

    def wait(self, text):
        """Reads until this text is shown after what was waited for before."""
        seen = ""
        deadline = time.monotonic() + TIMEOUT
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += self.read()
        self.shown += seen

    def read(self):
        """What is there; nothing at the end."""
        try:
            got = os.read(self.fd, 4096).decode()
        except OSError as e:
            assert e.errno == errno.EIO
            got = ""
        assert got, f"the program ended after: {self.shown}"
        return got

    def type(self, text):
        """Keys."""
        os.write(self.fd, text.encode())

    def is_readable(self, timeout=0.0):
        """Whether something comes within this time."""
        return bool(select.select([self.fd], [], [], timeout)[0])

    def end(self):
        """Status, and the rest of what is shown."""
        deadline = time.monotonic() + TIMEOUT
        while not self.status.exists():
            assert time.monotonic() < deadline, self.shown
            if self.is_readable(0.02):
                self.shown += self.read()
        while self.is_readable():
            self.shown += self.read()
        os.close(self.fd)
        os.waitpid(self.pid, 0)
        return int(self.status.read_text())


def test_terminal(program):
    """A conversation, with a mistake."""
    terminal = Terminal(program, "init")
    for question, answer in zip(QUESTIONS, ["", "y", "n", "pass", "smp.example", "", ""]):
        terminal.wait(question.splitlines()[-1].replace("{state}", str(program.state)))
        terminal.type("what?\n" if "statistics" in question else "")
        terminal.type(answer + "\n")
    assert terminal.end() == 0, terminal.shown
    assert "Please answer `y` or `n`, or press Enter for `n`\r\n" in terminal.shown
    assert re.search(r"\r\nServer address: smp://[\w-]{43}=:pass@smp\.example\r\n", terminal.shown)
    assert settings(program)["create_password"] == "pass"


@pytest.mark.parametrize("key, reason", [("\x03", "interrupted"),
                                         ("\x04", "the input ended before the answer")])
@pytest.mark.parametrize("number", [0, 3, 6])
def test_break(program, key, reason, number):
    """Ctrl-C and Ctrl-D: status 1, one line, nothing is made."""
    terminal = Terminal(program, "init")
    for i, question in enumerate(QUESTIONS[:number + 1]):
        terminal.wait(question.splitlines()[-1].replace("{state}", str(program.state)))
        terminal.type("\n" if i < number else key)
    assert terminal.end() == 1
    assert terminal.shown.endswith(f"\r\nError: nothing was done: {reason}\r\n")
    assert program.files() == {}


def test_signal(program):
    """SIGINT from elsewhere is the same as Ctrl-C."""
    terminal = Terminal(program, "init")
    terminal.wait(ENTER)
    os.killpg(terminal.pid, signal.SIGINT)
    assert terminal.end() == 1
    assert "Error: nothing was done: interrupted" in terminal.shown
    assert program.files() == {}
