"""The measures of a checkout, on one so small that they can be counted by hand."""

import pytest
from measure_house import find_circles, measure_code, measure_documents


@pytest.fixture
def checkout(tmp_path):
    files = {
        "src/innerdistill/__init__.py": "from innerdistill.run import job\n",
        "src/innerdistill/data.py": (
            '"""Data."""\n\n\ndef read_rows(path):\n    """Read."""\n    return [row for row in path]  # all\n'
        ),
        "src/innerdistill/run/__init__.py": "",
        "src/innerdistill/run/job.py": (
            "from innerdistill.data import read_rows\n\n\nclass Job:\n    @property\n    def size(self):\n"
            "        return 1\n\n    def rows(self):\n        from innerdistill.cli import main\n\n        return main\n"
        ),
        "src/innerdistill/cli.py": "from innerdistill.run.job import Job\n",
        "tests/test_layout.py": 'ROOMS = ["data", "run", "cli"]\n',
        "README.md": "# Title\n\nOne fact. Two short facts.\n\n| a | b |\n|---|---|\n| c | d e |\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_code(checkout):
    measured = measure_code(checkout)
    assert measured["rooms"] == "3"
    assert measured["pairs of rooms of which one imports the other"] == "2"
    assert measured["upward imports"] == "1"
    assert measured["rooms in circles"] == "2"
    assert measured["code lines"] == "12"
    assert measured["functions that begin with a verb"] == "50 % of 2"
    assert measured["comprehensions per 100 code lines"] == "8.3"


def test_documents(checkout):
    assert measure_documents(checkout) == {"README.md": "10; 2.5; 0 %"}


def test_no_circles():
    assert find_circles([("a", "b"), ("a", "c"), ("b", "c")]) == set()
