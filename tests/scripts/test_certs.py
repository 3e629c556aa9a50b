# SPDX-License-Identifier: AGPL-3.0-or-later
"""simplex-servers-certs deploy, for other clients; `make check-certs` has the authority."""

import datetime
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from service import Service

HOST = "smp.example.com"


@pytest.fixture(name="one")
def fixture_one(binary, tmp_path):
    """A server that was made for the host, and a certificate for it in `tmp_path`/new."""
    one = Service(binary, tmp_path)
    one.init("--no-password", "--fqdn", HOST)
    one.new = make(tmp_path / "new")
    return one


def make(folder, host=HOST, days=90):
    """fullchain.pem and privkey.pem in a folder; it ended before today when days are negative."""
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = x509.CertificateBuilder(
        issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=9), not_valid_after=now + datetime.timedelta(days=days),
        extensions=[x509.Extension(x509.SubjectAlternativeName.oid, False, x509.SubjectAlternativeName([x509.DNSName(host)]))])
    (folder / "fullchain.pem").write_bytes(cert.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "privkey.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def in_place(one, folder):
    """Is it what the server has? Others may not read it."""
    crt, key = one.config / "web.crt", one.config / "web.key"
    assert crt.stat().st_mode & 0o777 == key.stat().st_mode & 0o777 == 0o640
    assert not list(one.config.glob("*.new"))
    return (crt.read_bytes() == (folder / "fullchain.pem").read_bytes()
            and key.read_bytes() == (folder / "privkey.pem").read_bytes())


def test_deploy(one):
    """By hand; a second time nothing is written; another replaces it."""
    words = ["deploy", one.new / "fullchain.pem", one.new / "privkey.pem"]
    assert f"for {HOST}, until" in one.script("simplex-servers-certs", *words)
    assert in_place(one, one.new)
    before = (one.config / "web.crt").stat()
    assert "already" in one.script("simplex-servers-certs", *words)
    assert (one.config / "web.crt").stat() == before
    other = make(one.root / "other")
    one.script("simplex-servers-certs", "deploy", other / "fullchain.pem", other / "privkey.pem")
    assert in_place(one, other)


def test_hooks(one):
    """As certbot, lego and dehydrated call it; what else dehydrated tells is passed over."""
    one.environment["RENEWED_LINEAGE"] = str(one.new)
    one.script("simplex-servers-certs", "deploy")
    assert in_place(one, one.new)
    del one.environment["RENEWED_LINEAGE"]
    lego = make(one.root / "lego")
    one.environment.update(LEGO_CERT_PATH=str(lego / "fullchain.pem"), LEGO_CERT_KEY_PATH=str(lego / "privkey.pem"))
    one.script("simplex-servers-certs", "deploy")
    assert in_place(one, lego)
    other = make(one.root / "dehydrated")
    for word in ("startup_hook", "deploy_challenge", "clean_challenge", "unchanged_cert", "exit_hook"):
        assert one.script("simplex-servers-certs", word, HOST, "token", "answer") == ""
    one.script("simplex-servers-certs", "deploy_cert", HOST, other / "privkey.pem", "/cert.pem",
               other / "fullchain.pem", "/chain.pem", "1764360000")
    assert in_place(one, other)


def test_caddy(one):
    """Without a word, as the script of that name in the guide of the reference."""
    one.environment["SIMPLEX_CADDY_DIR"] = str(one.root / "caddy")
    assert "Caddy has no certificate" in one.script("simplex-servers-certs", status=1)
    folder = one.root / "caddy" / "acme-v02.api.letsencrypt.org-directory" / HOST
    folder.mkdir(parents=True)
    shutil.copy(one.new / "fullchain.pem", folder / f"{HOST}.crt")
    shutil.copy(one.new / "privkey.pem", folder / f"{HOST}.key")
    one.script("simplex-servers-certs")
    assert in_place(one, one.new)


@pytest.mark.parametrize("fault, text", [
    ("other key", "is not the key"), ("expired", "has expired"), ("other host", f"is not for {HOST}"),
    ("no certificate", "is no certificate"), ("missing", "cannot be read")])
def test_refused(one, fault, text):
    """What is in place stays."""
    one.script("simplex-servers-certs", "deploy", one.new / "fullchain.pem", one.new / "privkey.pem")
    bad = make(one.root / "bad", host="smp.example.org" if fault == "other host" else HOST,
               days=-1 if fault == "expired" else 90)
    if fault == "other key":
        shutil.copy(one.new / "privkey.pem", bad)
    elif fault == "no certificate":
        (bad / "fullchain.pem").write_text("nonsense")
    elif fault == "missing":
        (bad / "privkey.pem").unlink()
    said = one.script("simplex-servers-certs", "deploy", bad / "fullchain.pem", bad / "privkey.pem", status=1)
    assert text in said and "nothing is changed" in said
    assert in_place(one, one.new)


def test_wrong_words(one):
    """Nothing is done."""
    for words in (["no-such"], ["deploy"], ["deploy", "x"], ["issue", "--no-such"]):
        assert "usage" in one.script("simplex-servers-certs", *words, status=2)
