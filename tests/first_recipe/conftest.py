"""`innerdistill init` in a folder of its own, and models with names of their outputs."""

import pytest
from conftest import tiny_model
from transformers import AutoModelForSequenceClassification

from innerdistill import load_recipe
from innerdistill.cli.main import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def init(capsys):
    """A function that runs `init`, and returns the recipe and all that was printed, in one line."""

    def run(*words, code=0):
        assert main(["init", *map(str, words)]) == code
        printed = capsys.readouterr()
        recipe = None if code else load_recipe("recipe.yaml")
        return recipe, " ".join(printed.out.split()), " ".join(printed.err.split())

    return run


@pytest.fixture
def save(tokenizer, folder):
    """A function that saves a model with the names of its outputs."""

    def save(name, *labels, head=AutoModelForSequenceClassification, **options):
        model = head.from_config(tiny_model(num_labels=max(1, len(labels)), **options).config)
        if labels:
            model.config.id2label = dict(enumerate(labels))
            model.config.label2id = {label: index for index, label in enumerate(labels)}
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        return name

    return save
