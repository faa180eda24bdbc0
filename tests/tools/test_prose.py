"""Sentences and words are counted by one rule, in Markdown, YAML and Python."""

import pytest
from prose import Block, count_words, read_blocks


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("One fact a sentence.", 4),
        ("The loss – `T² · KL(p, q)` – fell.", 4),
        ("It takes $L_{kl} + L_{cos}$ and 0.5 %.", 5),
        ("", 0),
    ],
)
def test_words(text, words):
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("First. Second! Third?", 3),
        ("E1.1 ... E3.4 are recipes.", 1),
        ("By Hinton et al. 2015, eq. 2.", 1),
        ("`innerdistill` runs. `make` too.", 2),
        ("Accuracy is 0.84. It rose by .03.", 2),
        ("It ends with a colon: and goes further", 1),
        ("A note (with a sentence.) And another.", 2),
    ],
)
def test_sentences(text, sentences):
    assert len(Block(1, text).sentences()) == sentences


def blocks(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return [(block.line, block.text, block.is_cell) for block in read_blocks(path)]


def test_markdown_without_code_headings_links_and_formulas(tmp_path):
    text = """\
# A heading

A paragraph
in two lines, with a [link](https://example.org/a) and `code here`.

```
no prose
```

$$
L = 1
$$

- an item
- another

| name | meaning |
|---|---|
| a | b c |
"""
    assert blocks(tmp_path, "page.md", text) == [
        (3, "A paragraph in two lines, with a link and `code here`.", False),
        (14, "an item", False),
        (15, "another", False),
        (17, "name", True),
        (17, "meaning", True),
        (19, "a", True),
        (19, "b c", True),
    ]


def test_comments_of_yaml_without_commands(tmp_path):
    text = """\
# One sentence
# in two lines.
#   innerdistill sweep recipe.yaml
# Another.
seeds: [1]  # behind a value
note: "a #tag"
"""
    assert blocks(tmp_path, "recipe.yaml", text) == [
        (1, "One sentence in two lines.", False),
        (4, "Another.", False),
        (5, "behind a value", False),
    ]


def test_docstrings_comments_and_messages_of_python(tmp_path):
    text = '''\
"""A module.

model/    the result
run.json  the record
"""

def check(path: str) -> None:
    """Check a path.

    Args:
        path: folder of the run,
            relative or not.

    Raises:
        ValueError: no such folder.

    >>> check("runs/demo")
    'not prose'
    """
    # A comment
    # in two lines.
    if not path:  # noqa: SIM108
        raise ValueError(f"{path}: there is no folder; expected {'one'}.")
    parser.add_argument("path", help="folder of a run")
    logger.warning("The teacher is weak: %s", path)
'''
    assert blocks(tmp_path, "module.py", text) == [
        (1, "A module.", False),
        (3, "the result", False),
        (4, "the record", False),
        (8, "Check a path.", False),
        (11, "folder of the run, relative or not.", False),
        (15, "no such folder.", False),
        (20, "A comment in two lines.", False),
        (23, "`x`: there is no folder; expected `x`.", False),
        (24, "folder of a run", False),
        (25, "The teacher is weak: %s", False),
    ]


def test_texts_of_templates(tmp_path):
    page = """\
<style>p { color: red }</style>
<h1>{{ title }}</h1>
{% if scores -%}
<p>A score of <b>{{ score|round }}</b>
is good &amp; fine.</p>
{%- endif %}
<script>const x = "no prose";</script>
"""
    assert blocks(tmp_path, "page.html.j2", page) == [
        (2, "`x`", False),
        (4, "A score of `x` is good & fine.", False),
    ]
    assert blocks(tmp_path, "card.md.j2", "{% if a -%}\nTrained on {{ rows }} examples.\n{% endif %}\n") == [
        (2, "Trained on `x` examples.", False)
    ]
