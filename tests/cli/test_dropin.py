# SPDX-License-Identifier: AGPL-3.0-or-later
"""A server of the reference, continued: its certificates, settings and state as they are."""

import base64
import hashlib
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from program import free_port
from smp_client import connect

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference-6.5.5"

# The reference has its certificates made by the openssl program, with these extensions.
EXTENSIONS = """[req]
distinguished_name = names
[names]
[ca]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
basicConstraints = critical, CA:TRUE
[online]
basicConstraints = CA:FALSE
keyUsage = digitalSignature, nonRepudiation, keyAgreement
extendedKeyUsage = serverAuth
"""


def openssl(folder, words, *more):
    """Runs the openssl program in a folder; gives its output."""
    return subprocess.run(["openssl", *words.split(), *more], cwd=folder, capture_output=True,
                          text=True, check=True).stdout


def make_certificates(folder, algorithm):
    """As the reference does at its `init`."""
    folder.mkdir(parents=True)
    (folder / "openssl.conf").write_text(EXTENSIONS)
    for name in ("ca", "server"):
        openssl(folder, f"genpkey -algorithm {algorithm} -out {name}.key")
    openssl(folder, "req -new -x509 -days 999999 -config openssl.conf -extensions ca -key ca.key "
                    "-out ca.crt -subj", "/CN=SMP server CA/O=SimpleX")
    openssl(folder, "req -new -config openssl.conf -key server.key -out server.csr -subj "
                    "/CN=localhost")
    openssl(folder, "x509 -req -days 999999 -extfile openssl.conf -extensions online "
                    "-in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt")
    (folder / "fingerprint").write_text(fingerprint(folder) + "\n")


def fingerprint(folder):
    """As clients compute it."""
    der = ssl.PEM_cert_to_DER_cert((folder / "ca.crt").read_text())
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode()


def make_server(program, algorithm, sample):
    """Directories as the reference leaves them, with ports that are free."""
    make_certificates(program.config, algorithm)
    program.state.mkdir(parents=True)
    for path in (SAMPLES / sample).glob("*.log"):
        shutil.copy(path, program.state)
    text = (SAMPLES / sample / "smp-server.ini").read_text()
    assert "port = 5223\n" in text and "control_port = 5224\n" in text
    text = text.replace("port = 5223\n", f"port = {program.port}\n")
    program.ini.write_text(text.replace("control_port = 5224\n", f"control_port = {free_port()}\n"))


@pytest.mark.parametrize("algorithm", ["ed448", "ed25519"])
def test_continued(program, algorithm):
    """The same address, and clients find the server that they know; then again after `cert`."""
    make_server(program, algorithm, "memory")
    before = {p.name: p.read_bytes() for p in program.config.iterdir()}
    address = f"smp://{fingerprint(program.config)}:test@localhost:{program.port}"
    assert f"{address}\n" == program.run("address").stdout
    server = program.start()
    assert f"Server address: {address}\n" in server.out
    connect(program).close()
    server.stop()
    assert {p.name: p.read_bytes() for p in program.config.iterdir()} == before
    program.run("cert")
    server = program.start()
    assert f"Server address: {address}\n" in server.out
    connect(program).close()
    server.stop()
    text = openssl(program.config, "x509 -in server.crt -noout -text")
    assert f"Public Key Algorithm: {algorithm.upper()}" in text


@pytest.mark.parametrize("sample", ["memory", "journal"])
def test_settings(program, sample):
    """The settings file as it is: read without a remark on any line."""
    make_server(program, "ed25519", sample)
    shutil.copy(SAMPLES / sample / "smp-server.ini", program.ini)
    done = program.run("start", "--print-config")
    assert done.stderr == ""
    assert "\nport = 5223\n" in done.stdout and "\nhost = localhost\n" in done.stdout


def form(text):
    """A certificate in words, without what differs between any two."""
    text = re.sub(r"(Serial Number:|pub:|Signature Value:|Identifier:) *\n( +[0-9a-fA-F:]+\n)+",
                  r"\1 ...\n", text)
    return re.sub(r"(Not Before|Not After ): .*", r"\1: ...", text)


@pytest.mark.parametrize("algorithm", ["ed448", "ed25519"])
@pytest.mark.parametrize("name", ["ca.crt", "server.crt"])
def test_certificates_have_the_same_form(program, algorithm, name):
    """Subject, issuer, key, validity, extensions and their order."""
    theirs = program.root / "theirs"
    make_certificates(theirs, algorithm)
    program.init("-n", "localhost", "-a", algorithm.upper())
    words = f"x509 -in {name} -noout -text"
    assert form(openssl(program.config, words)) == form(openssl(theirs, words))
    for folder in (program.config, theirs):
        dates = openssl(folder, f"x509 -in {name} -noout -startdate -enddate")
        years = [int(year) for year in re.findall(r"(\d{4}) GMT", dates)]
        assert years[1] - years[0] in (2737, 2738)  # 999999 days


@pytest.mark.parametrize("algorithm", ["ed448", "ed25519"])
def test_keys_have_the_same_form(program, algorithm):
    """PEM of PKCS #8, of the same length and with the same head."""
    theirs = program.root / "theirs"
    make_certificates(theirs, algorithm)
    program.init("-a", algorithm.upper())
    for name in ("ca.key", "server.key"):
        ours, other = ((folder / name).read_text().splitlines()
                       for folder in (program.config, theirs))
        assert [len(line) for line in ours] == [len(line) for line in other]
        assert (ours[0], ours[-1], ours[1][:16]) == (other[0], other[-1], other[1][:16])
