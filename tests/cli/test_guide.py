# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the operators' guides (French, November 2023; Japanese, 2024) tell to type, as written.

Each test names the guide (FR, JA) and the section. Commands are given to a shell as the guide has
them, in directories of the test. Left out:
- `sudo`, `su smp -c` and its quotes: tests have one user;
- rsync and ssh: cp here; journalctl: the output itself; vim: the test edits;
- systemctl, the unit but its two Exec lines, firewalls, installing, Docker, Linode, Tor and Caddy,
  which are not this program;
- "smp-server init -y -<your flag> <your option>": the guides mean a pattern by it.
What stands in <...> is filled in. Ports are others, for tests run side by side.
"""

import base64
import hashlib
import re
import signal
import ssl
import subprocess

import pytest
from program import TIMEOUT, check_sanitizers, free_port


@pytest.fixture(name="host")
def fixture_host(program):
    """The program as `smp-server` in PATH."""
    folder = program.root / "bin"
    folder.mkdir()
    (folder / "smp-server").symlink_to(program.binary)
    program.environment["PATH"] = f"{folder}:{program.environment['PATH']}"
    program.environment["HOME"] = str(program.root)
    return program


def type_in(host, text, status=0, answers=""):
    """Gives a command of the guide to the shell."""
    text = re.sub(r"^(sudo )?(su smp -c )(['\"]?)(.*?)(\3)$", r"\4", text.strip(), flags=re.DOTALL)
    done = subprocess.run(["sh", "-ec", text], env=host.environment, input=answers,
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)
    check_sanitizers(done.stderr)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def fingerprint(config):
    """Of the CA certificate, as the guides explain it."""
    der = ssl.PEM_cert_to_DER_cert((config / "ca.crt").read_text())
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode()


def settings(host):
    """The settings in force: keys to values."""
    lines = host.ini.read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#[")
    return {key.strip(): value.strip() for key, _, value in pairs}


def listen(host):
    """Ports that are free, and pages in a directory of the test, in place of the guide's."""
    host.set("TRANSPORT", "port", host.port)
    host.set("TRANSPORT", "bind", "127.0.0.1")
    if "control_port" in settings(host):
        host.set("TRANSPORT", "control_port", free_port())
    if "static_path" in settings(host):
        host.set("WEB", "static_path", host.state / "www")


# ---- configuration ----


def test_without_parameters(host):
    """FR "Configuration", JA "設定": the commands."""
    out = type_in(host, "sudo su smp -c smp-server", status=1).stdout
    for command in ("init", "start", "delete"):
        assert re.search(rf"^  {command} +\S", out, re.MULTILINE)


@pytest.mark.parametrize("command", ["init", "start", "delete", "cert"])
def test_help_of_a_command(host, command):
    """FR "Configuration", JA "設定": smp-server <command> -h."""
    out = type_in(host, f'sudo su smp -c "smp-server {command} -h"').stdout
    assert out.startswith(f"Usage: smp-server {command} ")


def test_interactive(host):
    """FR "Interactif", JA "対話的に": the questions, in this order."""
    out = type_in(host, 'sudo su smp -c "smp-server init"',
                  answers="\ny\ny\nr\nsmp.example\n\n\n").stdout
    at = 0
    for question in ("Enable store log to restore queues and messages on server restart (Yn):",
                     "Enable logging daily statistics (yN):",
                     "Require a password to create new messaging queues?",
                     "Enter server FQDN or IP address for certificate (127.0.0.1):"):
        assert question in out[at:]
        at = out.index(question, at)
    assert re.search(r"\nServer address: smp://[\w-]{43}=:[\w-]{43}=@smp\.example\n", out)


def test_help_of_init(host):
    """FR "Option via ligne de commande", JA "コマンドラインオプションで": all options are there."""
    out = type_in(host, 'sudo su smp -c "smp-server init -h"').stdout
    for option in ("-l,--store-log", "-s,--daily-stats", "-a,--sign-algorithm ALG", "--ip IP",
                   "-n,--fqdn FQDN", "--no-password", "--password PASSWORD", "-y,--yes",
                   "-h,--help"):
        assert re.search(rf"^  {option} +\S", out, re.MULTILINE), option


def test_init(host):
    """FR "Option via ligne de commande", JA the same: the example, and what is then shown."""
    out = type_in(host, 'sudo su smp -c "smp-server init -y -l --ip 192.168.1.5 --password test"')
    lines = out.stdout.splitlines()
    key = fingerprint(host.config)
    assert lines[:-6] == [
        f"Server initialized, please provide additional server information in {host.ini}.",
        "Run `smp-server start` to start server.",
        "----------",
        "You should store CA private key securely and delete it from the server.",
        "If server TLS credential is compromised this key can be used to sign a new one, keeping "
        "the same server identity and established connections.",
        f"CA private key location: {host.config}/ca.key",
        "----------"]
    assert re.fullmatch(r"SMP server v\S+ / \S+", lines[-6])
    assert lines[-5:-3] == [f"Fingerprint: {key}", f"Server address: smp://{key}:test@192.168.1.5"]
    assert (host.config / "fingerprint").read_text() == key + "\n"
    made = settings(host)
    assert (made["create_password"], made["host"], made["enable"]) == ("test", "192.168.1.5", "on")


QUICK_START = """su smp -c 'smp-server init --yes \\
                           --store-log \\
                           --no-password \\
                           --control-port \\
                           --socks-proxy \\
                           --source-code \\
                           --fqdn=smp1.example.com'"""


def test_quick_start(host):
    """JA, first section, steps 3 and 11: init, and the address for the shell."""
    type_in(host, QUICK_START)
    made = settings(host)
    assert made["host"] == "smp1.example.com" and made["socks_proxy"] == "localhost:9050"
    assert "create_password" not in made
    if "control_port" in made:
        assert made["control_port"] == "5224"
        passwords = made["control_port_admin_password"], made["control_port_user_password"]
        assert re.fullmatch(r"[\w-]{24} [\w-]{24}", " ".join(passwords))
        assert passwords[0] != passwords[1]
    host.set("TRANSPORT", "port", "443,5223")
    shown = host.root / "journal"
    host.set("TRANSPORT", "bind", "127.0.0.1")
    shown.write_text(host.run("start", "-m").stdout)
    pipe = "grep -m1 'Server address:' | awk '{print $NF}' | sed 's/:443.*//'"
    smp = type_in(host, f"cat {shown} | {pipe}").stdout.strip()
    assert smp == f"smp://{fingerprint(host.config)}@smp1.example.com"


@pytest.mark.parametrize("command", ["smp-server start", "smp-server start +RTS -N -RTS"])
def test_unit(host, command):
    """FR "Installation", 4, and JA "手動デプロイ", 5: ExecStart, KillSignal=SIGINT, ExecStopPost."""
    host.init("--no-password")
    listen(host)
    server = host.start(*command.split()[2:])
    key = fingerprint(host.config)
    for line in (f"Fingerprint: {key}", f"Store log: {host.state}/smp-server-store.log",
                 f"Server address: smp://{key}@<hostnames>:{host.port}",
                 "expiring clients inactive for 21600 seconds every 3600 seconds",
                 "creating new queues allowed"):
        assert line + "\n" in server.out
    server.stop(signal.SIGINT)
    note = "Note: arguments between +RTS and -RTS are ignored.\n"
    assert (note in server.err) == ("+RTS" in command)
    stop_post = ("""/usr/bin/env sh -c '[ -e "/var/opt/simplex/smp-server-store.log" ] && """
                 """cp "/var/opt/simplex/smp-server-store.log" """
                 """"/var/opt/simplex/smp-server-store.log.bak"'""")
    type_in(host, stop_post.replace("/var/opt/simplex", str(host.state)))
    host.start().stop(signal.SIGINT)


# ---- keys ----


def test_ca_key_offline(host):
    """JA "初期化" and "秘密鍵": made on one machine, copied to the server without the CA key."""
    host.init("--no-password", "-n", "smp.example")
    key = fingerprint(host.config)
    at_home = host.root / "simplex" / "smp" / "config"
    type_in(host, f"mkdir -p $HOME/simplex/smp/config && mv {host.config}/* {at_home}/ && "
                  f"cp -p {at_home}/* {host.config}/ && rm {host.config}/ca.key")
    listen(host)
    host.start().stop()
    assert f"smp://{key}@smp.example:{host.port}\n" == host.run("address").stdout


def test_rotation(host):
    """JA "オンライン証明書のローテーション", steps 1 to 9."""
    host.init("--no-password")
    listen(host)
    at_home = host.root / "simplex" / "smp" / "config"
    safe = host.root / "safe"
    (host.config / "ca.key").rename(safe)
    server = host.start()
    with host.connect() as client:
        before = client.getpeercert(binary_form=True)
    out = type_in(host, f"""
        mkdir -p $HOME/simplex/smp/config
        cp -p {host.config}/* $HOME/simplex/smp/config/
        cp {safe} $HOME/simplex/smp/config/ca.key
        export SMP_SERVER_CFG_PATH=$HOME/simplex/smp/config
        smp-server cert
        rm $HOME/simplex/smp/config/ca.key
        cp -p $HOME/simplex/smp/config/* {host.config}/
        """).stdout.splitlines()
    assert out[:7] == [
        "Generated new server credentials",
        "----------",
        "You should store CA private key securely and delete it from the server.",
        "If server TLS credential is compromised this key can be used to sign a new one, keeping "
        "the same server identity and established connections.",
        "CA private key location:",
        f"{at_home}/ca.key",
        "----------"]
    server.stop()
    server = host.start()
    with host.connect() as client:
        assert client.getpeercert(binary_form=True) != before
    server.stop()


# ---- settings ----

COMPLETE = """
[INFORMATION]
source_code: https://github.com/simplex-chat/simplexmq

# usage_conditions: https://github.com/simplex-chat/simplex-chat/blob/stable/PRIVACY.md
# website:

[STORE_LOG]
enable: on

restore_messages: on
expire_messages_days: 21
expire_ntfs_hours: 24

log_stats: on

[AUTH]
new_queues: on

# control_port_admin_password:
# control_port_user_password:

[TRANSPORT]
host: <domain/ip>
port: 5223,443
log_tls_errors: off

websockets: off
# control_port: 5224

[PROXY]
# host_mode: public
# socks_proxy: localhost:9050

[INACTIVE_CLIENTS]
disconnect: off
# ttl: 21600
# check_interval: 3600

[WEB]
static_path: /var/opt/simplex/www

#http: 8000

https: 443
cert: /etc/opt/simplex/web.crt
key: /etc/opt/simplex/web.key
"""

PAGES = """
[TRANSPORT]
# host
host: <domain/ip>
port: 443,5223
websockets: off
log_tls_errors: off
control_port: 5224

[WEB]
https: 443
static_path: /var/opt/simplex/www
cert: /etc/opt/simplex/web.crt
key: /etc/opt/simplex/web.key

[INFORMATION]
source_code: https://github.com/simplex-chat/simplexmq

server_country: <YOUR_SERVER_LOCATION>
operator: <YOUR_NAME>
operator_country: <YOUR_LOCATION>
website: <WEBSITE_IF_AVAILABLE>

#admin_simplex: SimpleX
admin_email: <EMAIL>
# admin_pgp:
# admin_pgp_fingerprint:

complaints_email: <COMPLAINTS_EMAIL>

hosting: <HOSTING_PROVIDER_NAME>
hosting_country: <HOSTING_PROVIDER_LOCATION> 
"""

PROXY = """
[PROXY]
socks_proxy: 127.0.0.1:9050
own_server_domains: <domain>
"""

CONTROL_PORT = """
[AUTH]
control_port_admin_password: <your_randomly_generated_admin_password>
control_port_user_password: <your_randomly_generated_user_password>

[TRANSPORT]
control_port: 5224
"""

STATISTICS = """
[STORE_LOG]
log_stats: on
"""

FILLED_IN = {"<domain/ip>": "smp.example.com", "<YOUR_SERVER_LOCATION>": "SE",
             "<YOUR_NAME>": "Example operator", "<YOUR_LOCATION>": "GB",
             "<WEBSITE_IF_AVAILABLE>": "https://example.com", "<EMAIL>": "admin@example.com",
             "<COMPLAINTS_EMAIL>": "complaints@example.com",
             "<HOSTING_PROVIDER_NAME>": "Example hosting", "<HOSTING_PROVIDER_LOCATION>": "FI",
             "<domain>": "example.com",
             "<your_randomly_generated_admin_password>": "Xk2mLq0aPz8sVb4tRw6y",
             "<your_randomly_generated_user_password>": "Bn7cQe1dUf5gHj9iKo3p"}


def edit(host, text):
    """Puts these settings into the file, in place of those that are there."""
    section = ""
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            if line not in host.ini.read_text():
                host.ini.write_text(f"{host.ini.read_text()}\n{line}\n")
        elif line and not line.startswith("#"):
            key, _, value = line.partition(": ")
            host.set(section, key, value)


@pytest.mark.parametrize("text", [
    pytest.param(PAGES, id="pages"),  # JA "サーバー情報ページ", 1
    pytest.param(PROXY, id="proxy"),  # JA "SMP PROXYのためのSOCKSポート", 4
    pytest.param(CONTROL_PORT, id="control port"),  # JA "制御ポート", 2
    pytest.param(STATISTICS, id="statistics"),  # FR "Suivi de l'activité"
])
def test_settings(host, text):
    """Settings of the guide in the file that init has made: nothing is remarked on, but that it
    has no certificate for pages yet."""
    host.init("--no-password")
    edit(host, text)
    assert host.run("start", "--print-config").stderr == ""
    listen(host)
    server = host.start()
    server.stop()
    assert not [line for line in server.err if line.startswith(("warn", "error"))
                and not line.startswith("warn web there are no pages on port 443: ")]


def test_complete_file(host):
    """JA "追加設定": the file as a whole, without the remarks in it."""
    host.init("--no-password")
    host.ini.write_text(COMPLETE.replace("<domain/ip>", FILLED_IN["<domain/ip>"]))
    out = host.run("start", "--print-config")
    assert out.stderr == "" and "\nhost = smp.example.com\n" in out.stdout
    assert "\ndisconnect = off\n" in out.stdout
    listen(host)
    server = host.start()
    server.stop()
    key = fingerprint(host.config)
    assert f"Server address: smp://{key}@smp.example.com:{host.port}\n" in server.out
    assert "not expiring inactive clients\n" in server.out
