# SPDX-License-Identifier: AGPL-3.0-or-later
"""simplex-servers-health: whether this machine's server answers, told by its own settings."""

import shutil

import pytest
from service import Service


@pytest.fixture(name="service")
def fixture_service(binary, tmp_path):
    """A server that does not run yet, whose name is not this machine's."""
    one = Service(binary, tmp_path)
    one.init("--password", "secret", "--fqdn", "smp.example.com")
    one.set("TRANSPORT", "port", f"{one.port}")
    yield one
    one.end()


def health(service, status=0):
    """What it says."""
    return service.script("simplex-servers-health", "--timeout", 5, status=status)


def test_health(service):
    """Silent when it answers; else the reason. The password is taken from the settings."""
    assert "refused" in health(service, 1)
    server = service.start()
    assert health(service) == ""
    server.stop()
    assert "refused" in health(service, 1)


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0", "127.0.0.2, 127.0.0.1", "::1", "::"])
def test_bind(service, bind):
    """It is looked for where it listens."""
    service.set("TRANSPORT", "bind", bind)
    service.start()
    assert health(service) == ""


def test_no_new_queues(service):
    """A server that makes no queues is well."""
    service.set("AUTH", "new_queues", "off")
    service.start()
    assert health(service) == ""


def test_another_server(service, binary, tmp_path):
    """One with another identity on the same port is not this one, even where new queues are off."""
    other = Service(binary, tmp_path / "other") if (tmp_path / "other").mkdir() is None else None
    other.init("--no-password")
    other.set("TRANSPORT", "port", service.port)
    other.port = service.port
    other.start()
    assert "fingerprint" in health(service, 1)
    service.set("AUTH", "new_queues", "off")
    assert "fingerprint" in health(service, 1)
    other.end()


def test_nothing_there(service):
    """No settings, and words that it does not know."""
    shutil.rmtree(service.config)
    assert "smp-server init" in health(service, 1)
    assert "usage" in service.script("simplex-servers-health", "--no-such", status=2)
