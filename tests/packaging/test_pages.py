# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages as they are in git: what can be said without npm and a browser (`make check-web` says the rest)."""

import gzip
import json
import pathlib
import re

import pytest

WEB = pathlib.Path(__file__).parents[2] / "web"
PAGES = ("pages/index", "pages/link", "pages/404", "dashboard/index")
LANGUAGES = ("en", "fr", "ja")
# Bytes of a first visit, gzip, without headers; the budgets with headers are 12 and 20 KB.
BUDGETS = {"pages/index": 8_000, "pages/link": 15_000, "pages/404": 8_000, "dashboard/index": 36_000}
FILES = {"pages/link": {"/media/style.css", "/media/icon.svg", "/media/link.js"},
         "dashboard/index": {"/dashboard.css", "/dashboard.js", "/icon.svg"}}


def page(name, language):
    return (WEB / f"{name}{'' if language == 'en' else '.' + language}.html").read_text(encoding="utf-8")


def test_texts_are_the_same_in_each_language():
    keys = [list(json.loads((WEB / "src" / "text" / f"{language}.json").read_text(encoding="utf-8")))
            for language in LANGUAGES]
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_the_same_in_each_language(name):
    def frame(language):
        text = page(name, language)
        assert f'<html lang="{language}">' in text
        tags = re.findall(r"<[/!]?\w+", re.sub(r"<!--.*?-->", "", text))
        # plurals are a matter of the language
        values = sorted({v for v in re.findall(r"\{\{[#^/]?\w+\}\}", text) if "ttl_" not in v})
        return tags, values
    frames = [frame(language) for language in LANGUAGES]
    assert frames[0] == frames[1] == frames[2]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_budget(name, language):
    text = page(name, language)
    files = set(re.findall(r'"(/(?:media/)?[^"/]+\.(?:css|js|svg))"', text))
    assert files == FILES.get(name, {"/media/style.css", "/media/icon.svg"})
    folder = WEB / "dashboard" if name.startswith("dashboard") else WEB
    size = len(gzip.compress(text.encode())) + sum(len(gzip.compress((folder / f[1:]).read_bytes())) for f in files)
    assert size < BUDGETS[name]


def test_packages_are_pinned():
    packages = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 5
    for name, entry in packages.items():
        if name:
            assert entry["integrity"].startswith("sha512-") and "resolved" not in entry, name


@pytest.mark.parametrize("path", ["media/lean-qr.txt", "dashboard/uplot.txt"])
def test_library_brings_its_licence(path):
    assert "MIT License" in (WEB / path).read_text(encoding="utf-8")
