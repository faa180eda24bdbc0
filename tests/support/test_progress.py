"""Progress bars in a real notebook kernel, and the bars of other libraries."""

import datasets
import huggingface_hub.utils as hub
import nbformat
import pytest
from nbclient import NotebookClient
from transformers.utils import logging as transformers_logging

from innerdistill.support.progress import open_bar, quiet_libraries

TWO_BARS = """
from innerdistill.support.progress import open_bar

bar = open_bar("layer <1>", total=4, done=1)
for loss in (0.5, 0.25):
    bar.set_postfix({"loss": loss})
    bar.update()
bar.close()
for _ in open_bar("teacher", total=3, stays=False, over=range(3)):
    pass
"""


def test_a_notebook_shows_one_line_per_bar():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TWO_BARS)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    kept, removed = notebook.cells[0].outputs
    assert kept.data["text/plain"].startswith("layer <1>: 3/4 [") and "loss=0.25" in kept.data["text/plain"]
    assert '<progress value="3" max="4">' in kept.data["text/html"] and "layer &lt;1&gt;" in kept.data["text/html"]
    assert removed.data == {"text/html": "", "text/plain": ""}


def test_a_log_file_has_no_bar(capsys):
    with open_bar("layer 1", total=2) as bar:
        bar.update(2)
    assert bar.disable and capsys.readouterr() == ("", "")


@pytest.fixture(params=[True, False], ids=["shown", "turned off"])
def shown(request):
    """The bars of libraries, on or off, as before afterwards."""
    before, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    set_all(request.param)
    transformers_logging.set_verbosity_warning()
    yield request.param
    set_all(before)
    transformers_logging.set_verbosity(verbosity)


def set_all(shown):
    for switch in (
        (transformers_logging.enable_progress_bar, datasets.enable_progress_bars)
        if shown
        else (transformers_logging.disable_progress_bar, datasets.disable_progress_bars)
    ):
        switch()


def get_all():
    return (
        transformers_logging.is_progress_bar_enabled(),
        not datasets.are_progress_bars_disabled(),
        not hub.are_progress_bars_disabled(),
        transformers_logging.get_verbosity(),
    )


def test_bars_of_libraries_are_hidden_and_come_back(shown):
    before = get_all()
    with pytest.raises(KeyError), quiet_libraries():
        assert get_all() == (False, False, shown, transformers_logging.ERROR)  # downloads keep their bars
        raise KeyError
    assert get_all() == before == (shown, shown, shown, transformers_logging.WARNING)
