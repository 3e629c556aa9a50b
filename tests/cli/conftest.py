# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program, with a directory of its own for each test."""

import pytest
from database import Database
from program import Program

from smp.server import find_binary


@pytest.fixture
def program(request, tmp_path):
    """The program with empty configuration and state directories; what it started is ended."""
    one = Program(find_binary(request.config.getoption("--server-binary")), tmp_path)
    yield one
    one.end()


@pytest.fixture
def ready(program):
    """The same after `init`, on a free port of 127.0.0.1, without password and pages with TLS."""
    program.init("--no-password", "--disable-web")
    program.set("TRANSPORT", "port", program.port)
    program.set("TRANSPORT", "bind", "127.0.0.1")
    return program


@pytest.fixture
def database(postgres, ready):
    """An empty one, which the settings name."""
    one = Database(postgres, ready)
    ready.set("STORE_LOG", "db_connection", one.connection)
    return one


@pytest.fixture
def recorded(postgres, ready):
    """Makes another database of what was recorded, to compare with."""
    def make(schema, data=None):
        other = Database(postgres, ready)
        other.load(schema, data)
        return other
    return make
