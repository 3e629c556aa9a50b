# SPDX-License-Identifier: AGPL-3.0-or-later
"""scripts/reproduce on a tree whose build takes no time, and scripts/sbom; `make check-reproducible` builds."""

import importlib.machinery
import importlib.util
import shutil
import subprocess

import pytest
from service import REPO

BUILD = """#!/bin/sh
echo program >"$1/smp-server-debian-12-x86-64"
echo components >"$1/smp-server-debian-12-x86-64.cdx.json"
printf ' gcc (= %s),\\n' "${GCC-12}" >"$1/smp-server_0.1.0_amd64.buildinfo"
"""


@pytest.fixture(name="tree")
def fixture_tree(tmp_path):
    """A repository with the tag v0.1.0, and what its build gives in `release` beside it."""
    tree = tmp_path / "tree"
    (tree / "scripts").mkdir(parents=True)
    shutil.copy(REPO / "scripts/reproduce", tree / "scripts")
    (tree / "scripts/build").write_text(BUILD)
    (tree / "scripts/build").chmod(0o755)
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "-m", "x"], ["tag", "v0.1.0"]):
        subprocess.run(["git", "-C", tree, *words], check=True, timeout=60)
    (tmp_path / "release").mkdir()
    subprocess.run([tree / "scripts/build", tmp_path / "release"], check=True, timeout=60)
    return tree


def reproduce(tree, status, tag="v0.1.0"):
    """What it says."""
    done = subprocess.run([tree / "scripts/reproduce", tag, "release"], cwd=tree.parent, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == status, done.stdout
    return done.stdout


def test_same(tree):
    """The layout of the reference: from-source, prebuilt, and the checksums of both."""
    reproduce(tree, 0)
    out = tree.parent / "v0.1.0-smp-server"
    assert sorted(path.name for path in out.iterdir()) == ["_sha256sums", "from-source", "prebuilt"]
    for folder in ("from-source", "prebuilt"):
        subprocess.run(["sha256sum", "--check", "--quiet", out / "_sha256sums"], cwd=out / folder, check=True, timeout=60)


@pytest.mark.parametrize("name", ["smp-server-debian-12-x86-64", "smp-server-debian-12-x86-64.cdx.json"])
def test_tampered(tree, name):
    """One byte of one file is enough; there is no list of checksums then, and the file is named, and it alone."""
    path = tree.parent / "release" / name
    path.write_bytes(b"P" + path.read_bytes()[1:])
    assert f"different: {name}\n" in reproduce(tree, 1)
    assert not (tree.parent / "v0.1.0-smp-server" / "_sha256sums").exists()


def test_other_compiler(tree):
    """Versions that differ are named where files do."""
    (tree.parent / "release" / "smp-server_0.1.0_amd64.buildinfo").write_text(" gcc (= 11),\n")
    (tree.parent / "release" / "smp-server-debian-12-x86-64").write_text("other\n")
    said = reproduce(tree, 1)
    assert "released with: gcc 11" in said and "here: gcc 12" in said


def test_missing(tree):
    """A release without the file is for another distribution; a tag that is not there is said."""
    (tree.parent / "release" / "smp-server-debian-12-x86-64").unlink()
    assert "has no smp-server-debian-12-x86-64" in reproduce(tree, 1)
    assert "there is no v0.2.0" in reproduce(tree, 1, tag="v0.2.0")


def program(monkeypatch):
    """scripts/sbom as a module."""
    loader = importlib.machinery.SourceFileLoader("sbom", str(REPO / "scripts/sbom"))
    sbom = importlib.util.module_from_spec(importlib.util.spec_from_loader("sbom", loader))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(sbom)
    return sbom


def test_distribution(monkeypatch):
    """A package is named as one of Ubuntu where it is."""
    sbom = program(monkeypatch)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "ubuntu"})
    assert sbom.component("library", "libc6", "2.39+1", "amd64", "required")["purl"] == "pkg:deb/ubuntu/libc6@2.39%2B1?arch=amd64"


def test_parts_of_pages(monkeypatch):
    """What of npm is in the pages has its licence beside it there, and is a component; esbuild, which made them, is none."""
    found = {x["name"]: x["licenses"][0]["license"]["id"] for x in program(monkeypatch).scripts()}
    assert sorted(found) == sorted(path.stem for path in REPO.glob("web/*/*.txt")) and set(found.values()) == {"MIT"}


def test_licences(tmp_path, monkeypatch):
    """Of the components: what a copyright file of the Debian form names, else where to read it."""
    monkeypatch.setenv("SBOM_DOC", str(tmp_path))
    for name, text in (("one", "Format: x\n\nFiles: *\nLicense: MIT\n\nFiles: a\nLicense: GPL-2+\n\nLicense: MIT\n text\n"), ("two", "License: no\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "copyright").write_text(text)
    sbom = program(monkeypatch)
    assert [[x["license"]["name"] for x in sbom.licences(name)] for name in ("one", "two", "three")] == [
        ["GPL-2+", "MIT"], ["see /usr/share/doc/two/copyright"], ["see /usr/share/doc/three/copyright"]]
