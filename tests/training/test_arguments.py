"""Options of the Trainer: what is refused, and that Python and recipes refuse it with the same sentence."""

import pytest
import torch

from innerdistill import load_recipe
from innerdistill.data.batches import make_collator
from innerdistill.run.assemble import check_names
from innerdistill.training.check_arguments import NOT_SUPPORTED, SET_ELSEWHERE
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage

STAGE = Stage("classification", {"gold_labels": 1.0}, {}, epochs=1)


@pytest.fixture
def run(make_model, tokenizer, tokenised, tmp_path):
    def run(stages=(STAGE,), **changes):
        student = make_model(layers=2, seed=1)
        setup = TrainingSetup(train=tokenised, collate=make_collator(tokenizer), **changes)
        distill_models(None, student, stages=stages, setup=setup, folder=tmp_path / "run")
        return student

    return run


@pytest.mark.parametrize("section", ["trainer", "internal_trainer"])
@pytest.mark.parametrize("key", [*SET_ELSEWHERE, *NOT_SUPPORTED, "learning_rat"])
def test_python_and_a_recipe_refuse_an_option_with_the_same_sentence(run, recipe, tmp_path, section, key):
    with pytest.raises(ValueError, match=rf"{section}.* (is not supported: |has no key)") as in_python:
        run(**{section: {key: 1}})
    with pytest.raises(ValueError, match=key) as in_recipe:
        check_names(load_recipe(recipe(tmp_path, **{section: {key: 1}})))
    assert str(in_python.value) == str(in_recipe.value)
    assert not (tmp_path / "run").exists()


def test_an_option_of_a_later_stage_is_refused_before_the_first(run, tmp_path):
    internal = Stage("layer 1", {"cls_cosine": 1.0}, {1: 1}, epochs=1, is_internal=True)
    with pytest.raises(ValueError, match=r"^internal_trainer\.lr_scheduler_type: 'greedy' follows a loss"):
        run(stages=[STAGE, internal], internal_trainer={"lr_scheduler_type": "greedy"})
    assert not (tmp_path / "run").exists()


def test_workers_of_the_data_loader_change_nothing(run):
    """Their random generators and their order of batches must not matter: the student is identical to the byte."""
    stages = [Stage("first", {"gold_labels": 1.0}, {}, steps=8), STAGE]  # the first one ends inside an epoch
    options = {"use_cpu": True, "per_device_train_batch_size": 8, "learning_rate": 1e-3}
    alone, helped = (
        run(stages=stages, trainer={**options, "dataloader_num_workers": workers}).state_dict() for workers in (0, 2)
    )
    assert all(torch.equal(alone[name], helped[name]) for name in alone)
