# SPDX-License-Identifier: AGPL-3.0-or-later
"""The file that `init` writes as an interface for programs: what packagers' tools do to it is what
the server then does, and the reference finds in it all that it needs.

The edits are those of packagings of the reference, told in words of our own: the entry point of its
container image, Start9, YunoHost, and patchers made with Go's ini library.
"""

import configparser
import re
import shutil

import pytest
from program import free_port

# The reference (simplexmq 6.5.5) does not start without these keys, the last two when `disconnect`
# is on: in its Server/CLI.hs and Server/Main.hs they are read with strictIni or readStrictIni.
REQUIRED = {
    ("STORE_LOG", "enable"), ("TRANSPORT", "port"), ("TRANSPORT", "websockets"),
    ("INACTIVE_CLIENTS", "ttl"), ("INACTIVE_CLIENTS", "check_interval"),
}
# It would go another way than we do without this one: it reads a missing key as `on`.
DIFFERENT_DEFAULT = {("STORE_LOG", "expire_messages_on_send")}
# And these are in force in each file that its own `init` writes: tools find and replace them.
WRITTEN = REQUIRED | DIFFERENT_DEFAULT | {
    ("STORE_LOG", "store_queues"), ("STORE_LOG", "store_messages"),
    ("STORE_LOG", "restore_messages"), ("STORE_LOG", "expire_messages_days"),
    ("STORE_LOG", "expire_messages_on_start"), ("STORE_LOG", "expire_ntfs_hours"),
    ("STORE_LOG", "log_stats"), ("AUTH", "new_queues"), ("TRANSPORT", "host"),
    ("TRANSPORT", "log_tls_errors"), ("INACTIVE_CLIENTS", "disconnect"), ("WEB", "static_path"),
    ("WEB", "https"), ("WEB", "cert"), ("WEB", "key"),
}


def read_like_the_reference(text):
    """(section, key) to value: lines cut at the first of : and =, and the first of two counts."""
    found, section = {}, None
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            section = line.strip("[]")
            continue
        key, value = re.split("[:=]", line, maxsplit=1)
        found.setdefault((section, key.strip()), value.strip())
    return found


def in_force(program):
    """What --print-config shows, without a remark on any line."""
    done = program.run("start", "--print-config")
    assert done.stderr == ""
    return read_like_the_reference(done.stdout)


@pytest.mark.parametrize("words", [[], ["--disable-store-log"], ["-s", "--control-port"],
                                   ["--no-password", "--disable-web"]])
def test_the_reference_finds_its_keys(program, words):
    """Each of them, with a value that it reads."""
    program.init(*words)
    found = read_like_the_reference(program.ini.read_text())
    no_pages = {("WEB", "https"), ("WEB", "cert"), ("WEB", "key")}
    expected = WRITTEN - no_pages if "--disable-web" in words else WRITTEN
    assert expected <= set(found)
    for key in (("STORE_LOG", "enable"), ("STORE_LOG", "restore_messages"),
                ("STORE_LOG", "expire_messages_on_start"), ("STORE_LOG", "log_stats"),
                ("STORE_LOG", "expire_messages_on_send"), ("AUTH", "new_queues"),
                ("TRANSPORT", "log_tls_errors"), ("INACTIVE_CLIENTS", "disconnect")):
        assert found[key] in ("on", "off")
    for key in (("INACTIVE_CLIENTS", "ttl"), ("INACTIVE_CLIENTS", "check_interval"),
                ("STORE_LOG", "expire_messages_days"), ("STORE_LOG", "expire_ntfs_hours")):
        assert found[key].isdigit()
    assert found["TRANSPORT", "websockets"] == "off"
    # It takes the value of this key for a port whatever it is: `off` must not be written out.
    assert found.get(("TRANSPORT", "control_port"), "5224") == "5224"


def test_each_line_has_the_form_of_the_reference(program):
    """`key = value`, as it writes since 6.5.0, in comments too."""
    program.init("--control-port")
    keys = {key for _, key in read_like_the_reference(program.ini.read_text())}
    for line in program.ini.read_text().splitlines():
        if re.match(r"\w+\s*[:=]", line):
            assert re.match(r"[a-z_]+ = \S", line), line
    for key in keys:
        assert f"\n# {key}:" not in program.ini.read_text()


def test_pages_are_where_the_reference_has_them(program):
    """Below the two directories; with --disable-web the port and its certificate are comments."""
    program.init("--no-password")
    found = read_like_the_reference(program.ini.read_text())
    assert found["WEB", "static_path"] == f"{program.state}/www"
    assert found["WEB", "https"] == "443"
    assert found["WEB", "cert"] == f"{program.config}/web.crt"
    assert found["WEB", "key"] == f"{program.config}/web.key"


def test_relative_web_path(program):
    """Counts from where init runs, and is written so that it does not matter where start does."""
    program.run("init", "-y", "--web-path", "pages/www", cwd=program.root)
    found = read_like_the_reference(program.ini.read_text())
    assert found["WEB", "static_path"] == f"{program.root}/pages/www"


# ---- the entry point of the container image ----


def start_of_entry_point(program, address, *words):
    """What it runs while there is no settings file; it throws the output away."""
    program.run("init", "--yes", "--store-log", "--daily-stats", "--source-code", *address, *words)
    assert program.ini.exists()


def edit(program, *replacements):
    """Replaces by regular expressions, line by line, as sed does."""
    lines = program.ini.read_text().splitlines()
    for pattern, new in replacements:
        lines = [re.sub(pattern, new, line, count=1) for line in lines]
    program.ini.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("address, host", [
    (["--fqdn", "smp1.example.org", "--own-domains=example.org"], "smp1.example.org"),
    (["--ip", "192.0.2.5"], "192.0.2.5"), (["--ip", "2001:db8::5"], "[2001:db8::5]")])
def test_entry_point_without_pages(program, address, host):
    """WEB_MANUAL: one port, and what belongs to the pages becomes a comment."""
    start_of_entry_point(program, address, "--no-password")
    edit(program, ("^([^#]*https = )", r"#\1"), ("^([^#]*cert = )", r"#\1"),
         ("^([^#]*key = )", r"#\1"), ("^port = .*", "port = 5223"))
    found = read_like_the_reference(program.ini.read_text())
    assert found["TRANSPORT", "port"] == "5223"
    assert {key for section, key in found if section == "WEB"} == {"static_path"}
    shown = in_force(program)
    assert shown["TRANSPORT", "port"] == "5223" and shown["TRANSPORT", "host"] == host
    assert shown["STORE_LOG", "log_stats"] == "on"


def test_entry_point_with_certificate(program):
    """The paths of the certificate are replaced where they are."""
    start_of_entry_point(program, ["--fqdn", "a.example.org"], "--password", "pass")
    edit(program, (f"cert = {program.config}/web.crt", "cert = /certificates/a.example.org.crt"),
         (f"key = {program.config}/web.key", "key = /certificates/a.example.org.key"))
    found = read_like_the_reference(program.ini.read_text())
    assert found["WEB", "https"] == "443"
    assert found["WEB", "cert"] == "/certificates/a.example.org.crt"
    assert found["WEB", "key"] == "/certificates/a.example.org.key"
    edit(program, ("^port = .*", f"port = {program.port}"))
    program.start("+RTS", "-N", "-RTS").stop()


# ---- Start9 ----


def test_start9(program):
    """Rewrites the file by sections, without comments and with what it wants of each."""
    program.init("-l", "--password", "aZ19!$%&*>aZ19!$%&*>x")
    settings = read_like_the_reference(program.ini.read_text())
    settings.update({
        ("TRANSPORT", "host"): "a.example.org,bbbbbbbb.onion", ("TRANSPORT", "port"): "5223,443",
        ("TRANSPORT", "control_port"): str(free_port()),
        ("STORE_LOG", "expire_messages_days"): "365",
        ("STORE_LOG", "expire_messages_on_start"): "off",
        ("STORE_LOG", "expire_ntfs_hours"): "168", ("INACTIVE_CLIENTS", "disconnect"): "off",
        ("WEB", "http"): "8000", ("PROXY", "socks_proxy"): "127.0.0.1:9050",
    })
    settings.pop(("WEB", "https"))
    text = ""
    for section in sorted({section for section, _ in settings}):
        text += f"[{section}]\n" + "".join(
            f"{key}: {value}\n" for (of, key), value in settings.items() if of == section)
    program.ini.write_text(text)
    shown = in_force(program)
    assert shown["STORE_LOG", "expire_messages_days"] == "365"
    assert shown["INACTIVE_CLIENTS", "disconnect"] == "off"
    assert shown["TRANSPORT", "host"] == "a.example.org,bbbbbbbb.onion"
    program.ini.write_text(text.replace("port: 5223,443", f"port: {program.port}"))
    program.start().stop()


# ---- YunoHost ----


def test_yunohost(program):
    """Reads the fingerprint from its file and the address from none."""
    out = program.run("init", "--no-password", "--ip", "192.0.2.9", "--store-log", "--yes").stdout
    fingerprint = (program.config / "fingerprint").read_text().strip()
    assert f"\nFingerprint: {fingerprint}\n" in out
    assert f"\nServer address: smp://{fingerprint}@192.0.2.9\n" in out
    edit(program, ("^port = .*", f"port = {program.port}"))
    program.start().stop()


# ---- patchers ----


def as_go_writes(value):
    """The quotes of Go's ini library."""
    if "`" in value:
        return f'"""{value}"""'
    return f"`{value}`" if "#" in value or ";" in value else value


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("comments", [True, False])
def test_go_patcher(program, aligned, comments):
    """Pairs are written anew and aligned, values quoted, comments kept or dropped."""
    program.init("--password", "a#b;c`d", "-n", "smp.example.org")
    changed = {("INFORMATION", "admin_simplex"): "https://smp.example.org/a#k;x",
               ("INFORMATION", "source_code"): "https://example.org/source#main",
               ("STORE_LOG", "log_stats"): "on", ("TRANSPORT", "port"): str(program.port)}
    out, section = [], None
    settings = read_like_the_reference(program.ini.read_text())
    for line in program.ini.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            out.append(line)
            mine = {k: changed.get((s, k), v) for (s, k), v in {**settings, **changed}.items()
                    if s == section}
            width = max(map(len, mine), default=0) if aligned else 0
            out += [f"{key:{width}} = {as_go_writes(value)}" for key, value in mine.items()] + [""]
        elif comments and line.startswith("#"):
            out.append("; " + line[1:].strip())
    program.ini.write_text("\n".join(out))
    shown = in_force(program)
    assert shown["TRANSPORT", "port"] == str(program.port) and shown["STORE_LOG", "log_stats"] == "on"
    server = program.start()
    server.wait(":a#b;c`d@smp.example.org")
    server.stop()


def test_configparser(program):
    """Python's reader takes the file as it is, and ours what it writes."""
    program.init("--password", "50%", "--control-port")
    before = in_force(program)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(program.ini)
    parser.set("TRANSPORT", "port", "5223")
    with program.ini.open("w") as f:
        parser.write(f)
    assert in_force(program) == {**before, ("TRANSPORT", "port"): "5223"}


@pytest.mark.parametrize("value", ["on", "off"])
def test_key_above_ours(ready, value):
    """A tool that writes below the header what it does not find: the first of two counts."""
    edit(ready, (r"^\[STORE_LOG\]$", f"[STORE_LOG]\nenable = {value}"))
    first, second = ready.line_of("enable = " + value), ready.line_of("enable = on")
    if value == "on":
        second = first + ready.ini.read_text().splitlines()[first:].index("enable = on") + 1
    server = ready.start()
    server.wait(f"warn settings {ready.ini}:{second}: [STORE_LOG] enable is already set in line "
                f"{first}, which counts: remove one", server.err)
    assert any("Store log disabled." in line for line in server.out) == (value == "off")
    server.stop()


def test_enable_replaced(ready):
    """`off` where init wrote `store_messages = journal` too: all is in memory, and that is said."""
    edit(ready, ("^enable = on$", "enable = off"))
    line = ready.line_of("store_messages = journal")
    server = ready.start()
    server.wait(f"warn settings {ready.ini}:{line}: [STORE_LOG] store_messages = journal has no "
                "effect with enable = off: ", server.err)
    server.stop()
    assert [path.name for path in ready.state.iterdir()] == ["www"]
    shown = read_like_the_reference(ready.run("start", "--print-config").stdout)
    assert shown["STORE_LOG", "store_messages"] == "memory"


# ---- what the tools rely on besides ----


def test_paths_and_arguments(program):
    """Both variables; the file names; arguments of the reference's runtime are ignored."""
    assert not program.config.exists()
    program.init("--no-password")
    assert program.ini == program.config / "smp-server.ini"
    edit(program, ("^port = .*", f"port = {program.port}"))
    program.start("+RTS", "-N4", "-A16m", "-RTS").stop()
    shutil.rmtree(program.config)
    assert "is not initialized" in program.refuse("start")


def test_output_for_scripts(program):
    """The lines of init that scripts look for."""
    lines = program.init("--password", "pass", "-n", "smp.example").splitlines()
    assert lines[0] == ("Server initialized, please provide additional server information in "
                        f"{program.ini}.")
    assert lines[1] == "Run `smp-server start` to start server."
    assert lines.count("----------") == 2
    assert sum(line.startswith("Fingerprint: ") for line in lines) == 1
    assert sum(line.startswith("Server address: smp://") for line in lines) == 1
