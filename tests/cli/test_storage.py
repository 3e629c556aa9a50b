# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is kept on disk, what is refused, and `smp-server journal`."""

import base64
import os
import pty
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import storelog
from program import TIMEOUT, as_nobody, free_port
from smp_client import drain, fill, send_to

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference-6.5.5"
BODIES = [b"one", b"", b"three" * 3000]
LOCK = "smp-server.lock"
MARK = "smp-server-journal.stop"
PAGES = "www"
SUMS = "smp-server-store.log.sums"


def use(program, messages):
    """Sets store_messages."""
    program.set("STORE_LOG", "store_messages", messages)


def switch_off(program):
    """Sets enable: off."""
    program.set("STORE_LOG", "enable", "off")
    use(program, "memory")


def counts(lines):
    """Queues and messages in the log line of a start."""
    found = re.search(r"^(?:\S+Z )?info store queues=(\d+) messages=(\d+)$", "".join(lines), re.MULTILINE)
    assert found, lines
    return tuple(map(int, found.groups()))


def counts_of(server):
    """The same of one that runs."""
    return counts(server.wait("info store queues=", server.err).err)


def names(program):
    """What is in the state directory, without the lock."""
    return {path.name for path in program.state.iterdir()} - {LOCK, PAGES}


def unchanged(program):
    """All files but the lock, to be compared."""
    return {name: content for name, content in program.files().items()
            if not name.endswith(LOCK)}


def refuse_start(program, *words):
    """`start` that must fail and leave all files as they are; gives its one line."""
    before = unchanged(program)
    line = program.refuse_start(*words)
    assert unchanged(program) == before
    return line


def stop_with_messages(program, messages):
    """Fills a queue of a server that keeps messages so, and stops it; gives the queue."""
    use(program, messages)
    server = program.start()
    queue = fill(program, BODIES)
    server.stop()
    return queue


# ---- what outlives the process ----


@pytest.mark.parametrize("orderly", [True, False])
@pytest.mark.parametrize("sync", ["always", "interval"])
def test_journal_keeps_all(ready, orderly, sync):
    """However the process ends."""
    ready.set("STORE_LOG", "sync", sync)
    server = ready.start()
    assert any(line == f"Messages: journal {ready.state}/journal"
               f"{', synced every second' if sync == 'interval' else ''}\n" for line in server.out)
    queue = fill(ready, BODIES)
    if orderly:
        server.stop()
    else:
        server.process.kill()
        server.process.wait()
    server = ready.start()
    assert counts_of(server) == (1, 3)
    assert drain(ready, queue) == BODIES
    server.stop()
    server = ready.start()
    assert counts_of(server) == (1, 0)
    server.stop()


def test_journal_path(ready):
    """Another place for the journal."""
    place = ready.root / "elsewhere"
    ready.set("STORE_LOG", "journal_path", place)
    stop_with_messages(ready, "journal")
    assert list(place.glob("*.journal"))
    assert names(ready) == {"smp-server-store.log", SUMS, "smp-server-ntfs.log", MARK}


def test_lost_segments_are_noticed(ready):
    """After an orderly stop; with --skip-warnings the server goes on without them."""
    stop_with_messages(ready, "journal")
    assert (ready.state / MARK).exists()
    for path in (ready.state / "journal").glob("*.journal"):
        path.unlink()
    line = refuse_start(ready)
    assert re.match(r"Error: \S+/journal/0000000001.journal is missing, the only file with "
                    r"messages \(the server was stopped in order at .* UTC\). Is this the right "
                    r"directory, and is it mounted\?", line)
    server = ready.start("--skip-warnings")
    assert not (ready.state / MARK).exists()
    assert counts_of(server) == (1, 0)
    server.stop()
    server = ready.start()
    server.stop()


@pytest.mark.parametrize("orderly", [True, False])
def test_lost_queues_are_noticed(ready, orderly):
    """The store log was emptied while the journal holds messages."""
    stop_with_messages(ready, "journal")
    if not orderly:
        (ready.state / MARK).unlink()  # as after a crash
    log = ready.state / "smp-server-store.log"
    content = log.read_bytes()
    log.write_bytes(b"")
    line = refuse_start(ready)
    assert f"{log} has 0 bytes and had {len(content)}: it was cut or emptied, from line 1 on" in line
    assert f"remove {log}.sums" in line
    (ready.state / SUMS).unlink()
    line = refuse_start(ready)
    assert "3 of 3 messages in" in line and "the store log has lost" in line
    log.write_bytes(content)
    server = ready.start()
    assert counts_of(server) == (1, 3)
    server.stop()
    log.write_bytes(b"")
    server = ready.start("--skip-warnings")
    assert counts_of(server) == (0, 0)
    server.stop()


def test_journal_removed_by_hand(ready):
    """`journal delete` makes the start forget it."""
    stop_with_messages(ready, "journal")
    shutil.rmtree(ready.state / "journal")
    assert "is missing" in ready.refuse_start()
    ready.run("journal", "delete", "-y")
    assert not (ready.state / MARK).exists()
    server = ready.start()
    assert counts_of(server) == (1, 0)
    server.stop()


def test_memory_keeps_all_at_an_orderly_stop(ready):
    """In the messages log, which becomes .bak at the start."""
    use(ready, "memory")
    server = ready.start()
    log = ready.state / "smp-server-messages.log"
    assert f"Messages: memory, saved at an orderly stop to {log}\n" in server.out
    queue = fill(ready, BODIES)
    assert not log.exists()
    server.stop()
    assert log.read_text().count("\n") == 3
    server = ready.start()
    assert counts_of(server) == (1, 3)
    assert names(ready) == {"smp-server-store.log", SUMS, "smp-server-messages.log.bak",
                            "smp-server-ntfs.log.bak"}
    assert drain(ready, queue) == BODIES
    server.stop()
    assert log.read_text() == ""


def test_memory_is_saved_when_the_start_fails(ready):
    """Messages that were read are written again when the port is taken."""
    queue = stop_with_messages(ready, "memory")
    log = ready.state / "smp-server-messages.log"
    before = log.read_text()
    other = shutil.copytree(ready.state, ready.root / "other")
    mine, ready.state = ready.state, other
    ready.environment["SMP_SERVER_LOG_PATH"] = str(other)
    server = ready.start()
    ready.environment["SMP_SERVER_LOG_PATH"] = str(mine)
    assert "is in use" in ready.refuse_start()
    assert log.read_text() == before
    server.stop()
    server = ready.start()
    assert drain(ready, queue) == BODIES
    server.stop()


def test_stop_that_cannot_save(ready):
    """One line says so, and the status; what was saved before is as it was."""
    stop_with_messages(ready, "memory")
    log = ready.state / "smp-server-messages.log"
    server = ready.start()
    Path(f"{log}.new").mkdir()
    server.process.send_signal(signal.SIGTERM)
    assert server.wait_end() == 1
    assert f"Error: cannot save messages to {log}: Is a directory\n" in server.err
    assert Path(f"{log}.bak").read_text().count("\n") == 3


def test_memory_without_restore(ready):
    """Queues only; a messages log from before is left alone, with a warning."""
    ready.set("STORE_LOG", "restore_messages", "off")
    stop_with_messages(ready, "memory")
    assert names(ready) == {"smp-server-store.log", SUMS}
    log = ready.state / "smp-server-messages.log"
    shutil.copy(SAMPLES / "memory" / "smp-server-messages.log", log)
    done = ready.run("start", "-m")
    assert counts(done.stderr) == (1, 0)
    assert f"warn storage {log} is not read: restore_messages is off\n" in done.stderr
    assert log.read_bytes() == (SAMPLES / "memory" / "smp-server-messages.log").read_bytes()


def test_off_writes_nothing(ready):
    """Not even a lock."""
    switch_off(ready)
    server = ready.start()
    fill(ready, BODIES)
    server.stop()
    assert names(ready) == set() and not (ready.state / LOCK).exists()
    assert "Store log disabled.\n" in server.out
    assert not any(line.startswith("Messages:") for line in server.out)


def test_off_does_not_read(ready):
    """A store log that is there is not read, which one line says."""
    stop_with_messages(ready, "journal")
    switch_off(ready)
    before = unchanged(ready)
    done = ready.run("start", "-m")
    assert f"{ready.state}/smp-server-store.log is not read: [STORE_LOG] enable is off" in (
        done.stderr)
    assert unchanged(ready) == before


# ---- refusals ----


def test_journal_beside_a_messages_log(ready):
    """Messages that would not be delivered; an empty log is none."""
    stop_with_messages(ready, "memory")
    use(ready, "journal")
    line = refuse_start(ready)
    assert line == ("Error: store_messages is journal, but there are messages in "
                    f"{ready.state}/smp-server-messages.log: run `smp-server journal import`, or "
                    "move that file away to do without them")
    (ready.state / "smp-server-messages.log").write_text("")
    ready.run("start", "-m")


def test_memory_beside_a_journal(ready):
    """The other way round."""
    stop_with_messages(ready, "journal")
    use(ready, "memory")
    line = refuse_start(ready)
    assert line.startswith("Error: store_messages is memory, but the journal "
                           f"{ready.state}/journal may hold messages: run `smp-server journal "
                           "export`")


@pytest.mark.parametrize("messages, text", [
    ("journal", "Error: store_messages is journal, but there are messages in "),
    ("memory", "Error: store_messages is memory, but the journal "),
])
def test_both(ready, messages, text):
    """Says how to get out of it without delivering anything twice."""
    stop_with_messages(ready, "journal")
    ready.run("journal", "export", "-y")
    use(ready, messages)
    line = refuse_start(ready)
    assert line.startswith(text) and "smp-server journal delete" in line


def test_empty_journal(ready):
    """No obstacle to memory mode: one that was never written to, and one that was read to its end.
    A message makes it one."""
    ready.start().stop()
    use(ready, "memory")
    ready.start().stop()
    queue = stop_with_messages(ready, "journal")
    use(ready, "memory")
    assert "may hold messages" in refuse_start(ready)
    use(ready, "journal")
    server = ready.start()
    assert drain(ready, queue) == BODIES
    server.stop()
    assert list((ready.state / "journal").glob("*.journal"))
    use(ready, "memory")
    assert counts_of(ready.start()) == (1, 0)


def test_empty_journal_and_messages(ready):
    """Import is what is advised then, and works."""
    stop_with_messages(ready, "memory")
    log = ready.state / "smp-server-messages.log"
    kept = log.rename(f"{log}.kept")
    use(ready, "journal")
    ready.start().stop()
    kept.rename(log)
    assert "run `smp-server journal import`" in refuse_start(ready)
    ready.run("journal", "import", "-y")
    assert counts_of(ready.start()) == (1, 3)


def test_advice_of_export(ready):
    """Each step that it names works, in its order."""
    stop_with_messages(ready, "journal")
    out = ready.run("journal", "export", "-y").stdout
    steps = ["First run `smp-server journal delete`.", "Set `store_messages: memory` in [STORE_LOG]",
             "then start the server"]
    places = [out.index(step) for step in steps]
    assert places == sorted(places)
    ready.run("journal", "delete", "-y")
    use(ready, "memory")
    assert counts_of(ready.start()) == (1, 3)


def test_export_of_nothing(ready):
    """There is nothing to delete then."""
    queue = stop_with_messages(ready, "journal")
    server = ready.start()
    drain(ready, queue)
    server.stop()
    out = ready.run("journal", "export", "-y").stdout
    assert "journal delete" not in out
    use(ready, "memory")
    ready.start().stop()


# ---- the journal of the reference ----


def place_reference(program):
    """Its files, with our settings."""
    shutil.copytree(SAMPLES / "journal", program.state, dirs_exist_ok=True)
    (program.state / "smp-server.ini").unlink(missing_ok=True)


def reference_messages():
    """What is not read in the sample, as lines of a messages log, by queue."""
    found = {}
    for state in (SAMPLES / "journal" / "messages").rglob("queue_state.*"):
        queue = state.name.split(".")[1]
        last = state.read_text().splitlines()[-1]
        name, _, _, at, end = re.search(r" read=(\S+)", last).group(1).split(",")
        text = (state.parent / f"messages.{name}.log").read_text()[int(at):int(end)]
        found[queue] = [f"v3 {queue} {line}" for line in text.splitlines()]
    return found


def export(program):
    """The messages of our journal, by queue."""
    program.run("journal", "export", "-y")
    log = program.state / "smp-server-messages.log"
    found = {}
    for line in log.read_text().splitlines():
        found.setdefault(line.split(" ")[1], []).append(line)
    log.unlink()
    return found


@pytest.mark.parametrize("messages", ["journal", "memory"])
def test_journal_of_the_reference(ready, messages):
    """Found by start and check, which name the command; without it, nothing is touched."""
    place_reference(ready)
    use(ready, messages)
    line = refuse_start(ready)
    assert line == (f"Error: {ready.state}/messages is the message journal of the reference server, "
                    "in a format of its own: run `smp-server journal import`, or move that "
                    "directory away to do without its messages")
    assert line.removeprefix("Error: ") in ready.run("check", status=1).stdout
    shutil.rmtree(ready.state / "messages")
    (ready.state / "messages" / "Bv").mkdir(parents=True)
    done = ready.run("start", "-m")
    assert counts(done.stderr) == (5, 0)


def test_import_from_the_reference(ready):
    """Every message that was not read, in its order, and no other; the directory is kept."""
    place_reference(ready)
    before = {p.name: p.read_bytes() for p in (ready.state / "messages").rglob("*.log")}
    out = ready.run("journal", "import", "-y").stdout
    assert out == (f"Messages of {ready.state}/messages will be imported into the journal "
                   f"{ready.state}/journal.\nImport completed. Messages: 133, queues: 5. "
                   f"The directory is now {ready.state}/messages.bak\n"
                   "store_messages is `journal`: start the server.\n")
    assert not (ready.state / "messages").exists()
    assert before == {p.name: p.read_bytes() for p in (ready.state / "messages.bak").rglob("*.log")}
    assert counts_of(ready.start()) == (5, 133)
    ready.servers[-1].stop()
    assert export(ready) == reference_messages()


SENT = "RqDjac3uwt7713kNe8i1XShxluoUN7eX"  # three messages, of which the first was read


def sample_queue(program):
    """The two files of that queue."""
    state = next((program.state / "messages").rglob(f"queue_state.{SENT}.log"))
    return state, next(state.parent.glob("messages.*.log"))


def test_reference_reads_two_files(ready):
    """What is read from is full, what is written to goes on."""
    place_reference(ready)
    state, first = sample_queue(ready)
    more = [f"{'A' * 31}{i} 1795327459 flags=F YQ==\n" for i in range(3)]
    text = "".join(more)
    (first.parent / "messages.second.log").write_text(text + more[0])  # the last is not counted
    state.write_text(f"write=second,3,3,{len(text)},{len(text)} "
                     f"read={first.name.split('.')[1]},1,3,65,195 canWrite=T size=5\n")
    ready.run("journal", "import", "-y")
    expected = reference_messages()[SENT] + [f"v3 {SENT} {line}".rstrip("\n") for line in more]
    assert export(ready)[SENT] == expected


@pytest.mark.parametrize("name", ["torn", "backup", "no newline"])
def test_reference_after_a_crash(ready, name):
    """The state is in the line before the last, in the backup, or in a line without an end."""
    place_reference(ready)
    state, _ = sample_queue(ready)
    text = state.read_text()
    if name == "torn":
        state.write_text(text + text.splitlines()[-1][:-1])
    elif name == "backup":
        state.rename(f"{state}.bak")
        state.write_text("")
    else:
        state.write_text(text.rstrip("\n"))
    ready.run("journal", "import", "-y")
    assert export(ready) == reference_messages()


DAMAGE = {
    "missing": (lambda state, log: log.unlink(), "the file is missing", 0),
    "short": (lambda state, log: log.write_bytes(log.read_bytes()[:-10]), "it is shorter than", 1),
    "line": (lambda state, log: log.write_bytes(log.read_bytes().replace(b"flags=T aGVsbG8gMg",
                                                                         b"flags=X aGVsbG8gMg")),
             "no message at byte 65", 1),
    "end": (lambda state, log: log.write_bytes(log.read_bytes()[:-1] + b"="), "a line without", 1),
    "state": (lambda state, log: state.write_text("nonsense\nnonsense\n"),
              "neither of the last two lines", 0),
    "count": (lambda state, log: state.write_text(
        state.read_text().splitlines()[-1].replace(",1,3,65,195", ",0,3,65,195").replace(
            "size=2", "size=3") + "\n"), "another number of messages", 2),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_reference_journal(ready, name):
    """Told with its path, and nothing is changed; --skip-warnings takes what can be read."""
    place_reference(ready)
    change, text, n_left = DAMAGE[name]
    change(*sample_queue(ready))
    before = {p: p.read_bytes() for p in (ready.state / "messages").rglob("*.log")}
    done = ready.run("journal", "import", "-y", status=1)
    line = done.stderr.splitlines()[-1]
    assert text in line and str(ready.state / "messages" / "Rq") in line
    assert "--skip-warnings" in line
    assert before == {p: p.read_bytes() for p in (ready.state / "messages").rglob("*.log")}
    if (ready.state / "journal").exists():
        ready.run("journal", "delete", "-y", status=None)
    done = ready.run("journal", "import", "-y", "--skip-warnings")
    assert f"warn import-damage path={ready.state}/messages/Rq" in done.stderr
    found, expected = export(ready), reference_messages()
    assert len(found.pop(SENT, [])) == n_left
    del expected[SENT]
    assert found == expected


def test_reference_queue_that_is_not_there(ready):
    """Its messages are counted and left out."""
    place_reference(ready)
    log = ready.state / "smp-server-store.log"
    lines = [x for x in log.read_text().splitlines(keepends=True) if SENT not in x]
    log.write_text("".join(lines))
    done = ready.run("journal", "import", "-y")
    assert "warn messages-skipped count=2 their queues do not exist" in done.stderr
    assert "Messages: 131, queues: 4" in done.stdout


def test_import_of_two(ready):
    """A messages log beside the directory: which of them is right is not ours to say."""
    place_reference(ready)
    (ready.state / "smp-server-messages.log").write_text("x\n")
    assert "would be delivered twice" in refuse_journal(ready, "import")
    (ready.state / "smp-server-messages.log").unlink()
    (ready.state / "messages.bak").mkdir()
    assert f"{ready.state}/messages.bak exists: move it away" in refuse_journal(ready, "import")


def test_lock(ready):
    """One server for a directory, and no command beside it; the lock ends with the process."""
    server = ready.start()
    message = (f"Error: another smp-server (process {server.process.pid}) uses the directory "
               f"{ready.state}: stop it first")
    assert ready.refuse_start() == message
    for word in ("import", "export", "delete"):
        assert ready.refuse("journal", word, "-y") == message
    server.process.kill()
    server.process.wait()
    ready.run("start", "-m")


def test_lock_without_store_log(ready):
    """Two servers write statistics, if nothing else: the directory is locked also where there is no
    file for a lock, against either kind, and against `delete`."""
    ready.set("STORE_LOG", "enable", "off")
    server = ready.start()
    message = (f"Error: another smp-server (process {server.process.pid}) uses the directory "
               f"{ready.state}: stop it first")
    assert ready.refuse_start() == message
    assert not list(ready.state.glob("*.lock"))
    assert ready.refuse("delete", "-y") == message
    ready.set("STORE_LOG", "enable", "on")
    assert ready.refuse_start() == message
    server.stop()
    ready.run("start", "-m")


def test_lock_of_a_journal_elsewhere(ready, tmp_path_factory):
    """Two state directories, one journal."""
    journal = tmp_path_factory.mktemp("disk") / "journal"
    ready.set("STORE_LOG", "journal_path", journal)
    server = ready.start()
    other = tmp_path_factory.mktemp("other")
    ready.environment["SMP_SERVER_LOG_PATH"] = str(other)
    assert ready.refuse_start() == (
        f"Error: another smp-server (process {server.process.pid}) uses the directory {journal}: "
        "stop it first, or set another [STORE_LOG] journal_path")
    assert ready.refuse("journal", "delete", "-y").startswith("Error: another smp-server")
    server.stop()
    ready.set("STORE_LOG", "journal_path", other)  # the state directory itself is no contradiction
    assert "uses the directory" not in ready.run("start", "-m", status=None).stderr


def test_no_state_directory(ready):
    """Names it."""
    ready.state.rmdir()
    assert refuse_start(ready).startswith(f"Error: the directory {ready.state} does not exist: ")


def test_unwritable_state_directory(ready):
    """As another user than root."""
    options = as_nobody(ready)
    ready.state.chmod(0o500)
    assert "Permission denied" in ready.refuse_start(**options)


@pytest.mark.parametrize("name", ["smp-server-store.log", LOCK, "journal",
                                  "journal/0000000001.journal"])
def test_unwritable_file(ready, name):
    """Names what cannot be written, before anything is."""
    stop_with_messages(ready, "journal")
    options = as_nobody(ready)
    (ready.state / name).chmod(0o555 if name == "journal" else 0o444)
    before = unchanged(ready)
    line = ready.refuse_start(**options)
    assert str(ready.state / name) in line and "Permission denied" in line
    assert unchanged(ready) == before


def test_damaged_store_log(ready):
    """Stops the start, with file and line; --skip-warnings sets the line aside; a torn end is
    dropped."""
    log = ready.state / "smp-server-store.log"
    text = (SAMPLES / "memory" / "smp-server-store.log").read_text()
    lines = text.splitlines(keepends=True)
    log.write_text("".join(lines[:3] + ["CREATE nonsense\n"] + lines[3:]) * 400)
    line = refuse_start(ready)
    assert str(log) in line and "4" in line
    done = ready.run("start", "-m", "--skip-warnings")
    assert counts(done.stderr) == (5, 0)
    assert "CREATE nonsense\n" in Path(f"{log}.bad").read_text()
    log.write_text(text + "CREATE rid=torn")
    done = ready.run("start", "-m")
    assert counts(done.stderr) == (5, 0)
    assert set(log.read_text().splitlines()) == storelog.compacted(text)


def test_store_log_is_compacted_at_each_start(ready):
    """When there is anything to remove; a large one while it serves. What it was is kept."""
    log = ready.state / "smp-server-store.log"
    text = (SAMPLES / "memory" / "smp-server-store.log").read_text()
    wanted = storelog.compacted(text)
    line = next(x for x in text.splitlines() if x.startswith("TIME ") or "updated_at=" in x)
    rid = re.search(r"rid=(\S+)", line).group(1)
    day = re.search(r"updated_at=(\d+)", line).group(1)
    backups = set()
    for n_more in (0, 200_000):
        log.write_text(text + f"TIME {rid} {day}\n" * n_more)
        before = log.read_bytes()
        server = ready.start()
        if n_more:
            server.wait("info store-log-compacted", server.err)
        assert set(log.read_text().splitlines()) == wanted
        server.stop()
        new = set(ready.state.glob("smp-server-store.log.2*Z")) - backups
        assert [path.read_bytes() for path in new] == [before]
        backups |= new
    server = ready.start()
    server.stop()
    assert set(ready.state.glob("smp-server-store.log.2*Z")) == backups


# ---- files of the reference ----


def loaded(program, sample):
    """The state directory with the files of a sample that are read here."""
    for path in (SAMPLES / sample).glob("smp-server-*.log"):
        shutil.copy(path, program.state)


@pytest.mark.parametrize("sample", ["memory", "journal"])
def test_sample_is_loaded_and_served(ready, sample):
    """With the reference's settings: as many queues and messages as the files have."""
    loaded(ready, sample)
    text = (SAMPLES / sample / "smp-server-store.log").read_text()
    queues = storelog.queues(text)
    log = SAMPLES / sample / "smp-server-messages.log"
    messages = log.read_text().splitlines() if log.exists() else []
    assert all(line.split(" ")[1] in queues for line in messages)
    ready.ini.write_text((SAMPLES / sample / "smp-server.ini").read_text())
    ready.set("TRANSPORT", "port", ready.port)
    ready.set("TRANSPORT", "bind", "127.0.0.1")
    ready.set("TRANSPORT", "control_port", free_port())
    server = ready.start()
    assert counts_of(server) == (len(queues), len(messages))
    wanted = {"": "OK", "full": "ERR QUOTA", "off": "ERR AUTH", "key": "ERR AUTH"}
    full = {line.split(" ")[1] for line in messages if line.endswith(" quota")}
    for rid, fields in queues.items():
        kind = fields.get("status") or ("key" if fields["sk"] else "full" if rid in full else "")
        assert send_to(ready, base64.urlsafe_b64decode(fields["sid"])) == wanted[kind]
    assert send_to(ready, bytes(24)) == "ERR AUTH"
    server.stop()


@pytest.mark.parametrize("sample", ["memory", "journal"])
def test_compaction_keeps_every_record(ready, sample):
    """One line a queue, which says what all lines said; the original is kept. What was compacted
    stays the same but for order."""
    loaded(ready, sample)
    use(ready, sample)
    log = ready.state / "smp-server-store.log"
    original = log.read_bytes()
    for _ in range(2):
        wanted = storelog.compacted(log.read_text())
        ready.run("start", "-m", "--compact-log")
        found = log.read_text().splitlines()
        assert set(found) == wanted and len(found) == len(wanted)
    assert original in [path.read_bytes() for path in ready.state.glob("smp-server-store.log.*")]


def by_queue(text):
    """Lines of a messages log, those of a queue in their order."""
    found = {}
    for line in text.splitlines():
        found.setdefault(line.split(" ")[1], []).append(line)
    return found


def test_messages_log_is_written_as_it_was(ready):
    """Byte for byte, but for the order of queues."""
    loaded(ready, "memory")
    use(ready, "memory")
    ready.run("start", "-m")
    log = ready.state / "smp-server-messages.log"
    assert by_queue(log.read_text()) == by_queue((SAMPLES / "memory" / log.name).read_text())


# ---- smp-server journal ----


def test_import_and_export(ready):
    """There and back: the same messages, in the same order."""
    loaded(ready, "memory")
    use(ready, "memory")
    log = ready.state / "smp-server-messages.log"
    original = log.read_text()
    n = original.count("\n")
    done = ready.run("journal", "import", "-y")
    assert (f"\nImport completed. Messages: {n}, queues: 5. The log is now {log}.bak\n"
            in done.stdout)
    assert done.stdout.endswith("Set `store_messages: journal` in [STORE_LOG] of "
                                f"{ready.ini}, then start the server.\n")
    assert not log.exists() and Path(f"{log}.bak").read_text() == original
    use(ready, "journal")
    assert counts(ready.run("start", "-m").stderr) == (5, n)

    done = ready.run("journal", "export", "-y")
    assert f"\nExport completed. Messages: {n}, queues: 5.\n" in done.stdout
    assert "Set `store_messages: memory`" in done.stdout
    assert by_queue(log.read_text()) == by_queue(original)
    done = ready.run("journal", "delete", "-y")
    assert re.search(r"^Deleted the journal .*/journal\. Files: \d+, bytes: \d+\.$", done.stdout,
                     re.MULTILINE)
    assert not (ready.state / "journal").exists()
    use(ready, "memory")
    assert counts(ready.run("start", "-m").stderr) == (5, n)


def test_exported_messages_are_delivered(ready):
    """From a queue of our own, which has its keys."""
    queue = stop_with_messages(ready, "journal")
    ready.run("journal", "export", "-y")
    ready.run("journal", "delete", "-y")
    use(ready, "memory")
    server = ready.start()
    assert drain(ready, queue) == BODIES
    server.stop()


@pytest.mark.parametrize("word", ["import", "export", "delete"])
def test_asks(ready, word):
    """Nothing is done without a `Y`, as all commands want it."""
    stop_with_messages(ready, "memory" if word == "import" else "journal")
    before = unchanged(ready)
    for answer in ["", "\n", "n\n", "y\n", "yes\n", "Yy\n"]:
        done = subprocess.run([ready.binary, "journal", word], env=ready.environment, input=answer,
                              capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 1
        assert done.stderr == "Error: nothing was done: the answer was not `Y`\n"
        assert done.stdout.endswith("Continue (Y/n): ")
        assert unchanged(ready) == before
    done = subprocess.run([ready.binary, "journal", word], env=ready.environment,
                          input="Y\n", capture_output=True, text=True, timeout=TIMEOUT,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert unchanged(ready) != before


def refuse_journal(program, word):
    """`journal` that must fail and leave all files as they are; gives its one line."""
    before = unchanged(program)
    done = program.run("journal", word, "-y", status=1)
    assert unchanged(program) == before
    return done.stderr.splitlines()[-1]


def test_nothing_to_move(ready):
    """Says what is missing."""
    log = ready.state / "smp-server-messages.log"
    assert refuse_journal(ready, "import") == (
        f"Error: there are no messages in {log} or {ready.state}/messages: nothing to import")
    for word in ("export", "delete"):
        assert refuse_journal(ready, word) == f"Error: there is no journal in {ready.state}/journal"
    shutil.copy(SAMPLES / "memory" / log.name, log)
    assert refuse_journal(ready, "import") == (
        f"Error: there are no queues in {ready.state}/smp-server-store.log: messages cannot be "
        "imported without them")
    switch_off(ready)
    assert refuse_journal(ready, "import").startswith("Error: the store log is disabled: set ")


def test_nothing_is_stored_twice(ready):
    """Import into a journal with messages, export over a log."""
    stop_with_messages(ready, "journal")
    log = ready.state / "smp-server-messages.log"
    ready.run("journal", "export", "-y")
    assert refuse_journal(ready, "export") == (f"Error: {log} exists: move it away, nothing is "
                                               "overwritten")
    line = ready.run("journal", "import", "-y", status=1).stderr.splitlines()[-1]
    assert line.startswith(f"Error: the journal {ready.state}/journal holds 3 messages: ")
    assert log.read_text().count("\n") == 3


def test_damaged_messages_log(ready):
    """Nothing is imported as if all were well: the log stays, and says where it is damaged."""
    loaded(ready, "memory")
    log = ready.state / "smp-server-messages.log"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:50] + ["v3 nonsense\n"] + lines[50:]))
    done = ready.run("journal", "import", "-y", status=1)
    assert str(log) in done.stderr and log.exists()
    ready.run("journal", "delete", "-y")
    done = ready.run("journal", "import", "-y", "--skip-warnings")
    assert f"\nImport completed. Messages: {len(lines)}, " in done.stdout
    assert Path(f"{log}.bad").read_text() == "v3 nonsense\n"


def test_delete_takes_nothing_else(ready):
    """Files that the journal has not made stay, and links are not followed."""
    stop_with_messages(ready, "journal")
    journal = ready.state / "journal"
    precious = ready.root / "precious"
    precious.write_text("x")
    (journal / "notes.txt").write_text("x")
    (journal / "0000000099.journal").symlink_to(precious)
    (journal / "0000000098.journal").mkdir()
    (journal / "1.journal").write_text("x")
    ready.run("journal", "delete", "-y")
    assert {p.name for p in journal.iterdir()} == {"notes.txt", "0000000099.journal", "1.journal",
                                                   "0000000098.journal"}
    assert precious.read_text() == "x"


def test_delete_does_not_follow_the_directory(ready):
    """A journal that is a link is the operator's to clear."""
    stop_with_messages(ready, "journal")
    journal, other = ready.state / "journal", ready.root / "other"
    journal.rename(other)
    journal.symlink_to(other)
    ready.run("start", "-m")
    assert f"cannot read {journal}: it is a link, and not followed" in refuse_journal(ready, "delete")
    assert list(other.glob("*.journal"))


@pytest.mark.parametrize("store, verb, title", [("memory", "import", "Importing"),
                                                ("journal", "export", "Exporting")])
def test_progress_on_a_terminal(ready, store, verb, title):
    """A bar that is drawn over itself and taken away."""
    stop_with_messages(ready, store)
    ours, theirs = pty.openpty()
    done = subprocess.run([ready.binary, "journal", verb, "-y"], env=ready.environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
                          timeout=TIMEOUT, check=True)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert re.search(rf"\r{title} messages \[#*-*\] +\d+% of 1 MiB\x1b\[K", shown)
    assert f"{verb.capitalize()} completed".encode() in done.stdout


def test_torn_messages_log(ready):
    """Is reported once, by its own name, and the file as it was is kept."""
    stop_with_messages(ready, "memory")
    log = ready.state / "smp-server-messages.log"
    text = log.read_text()[:-30]
    log.write_text(text)
    server = ready.start()
    assert counts_of(server) == (1, 2)
    server.stop()
    warnings = [line for line in server.err if line.startswith("warn")]
    assert len(warnings) == 1, warnings
    assert f"log-cut-short path={log} " in warnings[0]
    kept = [path for path in ready.state.glob("smp-server-messages.log.damaged-*")]
    assert [path.read_text() for path in kept] == [text]
    assert f"kept={kept[0]}:" in warnings[0]
