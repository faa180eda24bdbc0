"""A built site is complete without a network, or the check says what is missing."""

import pytest
from check_site import find_remote


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("index.html", '<script src="https://cdn.example.org/mathjax.js"></script>'),
        ("index.html", '<script defer="defer" src="//cdn.example.org/mathjax.js"></script>'),
        ("index.html", '<link rel="stylesheet" href="https://fonts.example.org/css?family=Inter" />'),
        ("index.html", '<link href="https://fonts.example.org/css" rel="stylesheet">'),
        ("index.html", '<img alt="badge" src="https://badges.example.org/badge.svg">'),
        ("_static/site.css", "@font-face { src: url(https://fonts.example.org/inter.woff2); }"),
        ("_static/site.css", '@import "https://fonts.example.org/css";'),
    ],
)
def test_what_is_loaded_from_elsewhere_is_named(tmp_path, name, text):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    [(where, address)] = find_remote(tmp_path)
    assert where == path and "example.org" in address


def test_own_files_and_links_are_fine(tmp_path):
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="_static/site.css" /><script src="_static/mathjax/tex-chtml.js"></script>'
        '<img src="_images/report.png"><a href="https://arxiv.org/abs/1910.03723">paper</a>'
    )
    (tmp_path / "site.css").write_text("body { background: url('data:image/svg+xml;<svg xmlns=\"http://a\"/>'); }")
    assert not find_remote(tmp_path)
