"""The word embeddings: an optimiser that holds the words of the data moves them as one that holds all of them."""

import itertools

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from innerdistill.models.families import FAMILIES
from innerdistill.training import trainer as trainer_module
from innerdistill.training.stage import Stage

BOTH = Stage("both", {"attention_kl": 1.0, "cls_cosine": 1.0, "soft_labels": 1.0}, {1: 2}, epochs=2)
MANY, FEW = 400, 45  # words of the vocabulary; the data hold fewer than 45


@pytest.fixture
def whole_table(monkeypatch):
    """Train as transformers does."""

    def switch():
        monkeypatch.setattr(trainer_module, "hold_embedding_rows", lambda *_: None)

    return switch


def trained(make_trainer, make_model, family="bert", vocabulary=MANY, callbacks=(), **options):
    options = {"per_device_train_batch_size": 4, "weight_decay": 0.3, **options}
    trainer = make_trainer(
        BOTH, options=options, teacher=make_model(family, vocab_size=vocabulary),
        student=make_model(family, layers=2, seed=1, vocab_size=vocabulary), callbacks=callbacks,
    )  # fmt: skip
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    norms = [log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log]
    return trainer, before, norms


def difference(left, right):
    """The greatest one; the loss does not depend on the bias of keys, so AdamW moves it by the sign of rounding."""
    names = [name for name in left if not name.endswith(("key.bias", "k_lin.bias", "k.bias"))]
    return max(float((left[name] - right[name]).abs().max()) for name in names)


def list_cases():
    """Every family in every setting; those that are not slow: BERT in every setting, the others in one."""
    for family, vocabulary in itertools.product(FAMILIES, (MANY, FEW)):
        for accumulation, most in ((1, 0.5), (2, 0.5), (1, 0.0)):
            is_quick = family == "bert" or (vocabulary == MANY and accumulation == 2)
            marks = () if is_quick else pytest.mark.slow
            yield pytest.param(family, vocabulary, accumulation, most, marks=marks)


@pytest.mark.parametrize(("family", "vocabulary", "accumulation", "most"), list_cases())
def test_the_student_is_the_same(make_trainer, make_model, whole_table, family, vocabulary, accumulation, most):
    options = {"gradient_accumulation_steps": accumulation, "max_grad_norm": most, "learning_rate": 1e-4}
    trainer, before, norms = trained(make_trainer, make_model, family, vocabulary, **options)
    rows, found = trainer.embedding_rows, trainer.model.state_dict()
    assert (rows.rows is rows.table.weight) == (vocabulary == FEW)
    whole_table()
    trainer, _, wanted_norms = trained(make_trainer, make_model, family, vocabulary, **options)
    wanted = trainer.model.state_dict()
    assert trainer.embedding_rows is None
    assert min(norms) > 0.5 and norms == pytest.approx(wanted_norms, rel=1e-4)  # so that clipping does something
    assert difference(wanted, before) > 4e-4
    assert difference(wanted, found) < 2e-5


def test_words_that_do_not_occur_decay(make_trainer, make_model, tokenised):
    trainer, before, _ = trained(make_trainer, make_model)
    name = "bert.embeddings.word_embeddings.weight"
    unseen = sorted(set(range(MANY)) - {0} - {word for row in tokenised["input_ids"] for word in row})
    assert len(unseen) > 300
    rates = [log["learning_rate"] for log in trainer.state.log_history if "grad_norm" in log]
    assert len(rates) == trainer.state.global_step
    factor = torch.tensor([1 - 0.3 * rate for rate in rates], dtype=torch.float64).prod()
    assert 0.9 < factor < 0.999
    assert torch.allclose(trainer.model.state_dict()[name][unseen], before[name][unseen] * factor.float(), rtol=1e-6)


def test_a_checkpoint_holds_the_whole_table_and_is_small(make_trainer, make_model, tmp_path):
    class Save(TrainerCallback):
        def on_epoch_end(self, args, state, control, **_):
            control.should_save = True

    trainer = trained(make_trainer, make_model, callbacks=[Save()])[0]
    folders = sorted(tmp_path.glob("checkpoint-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    saved = load_file(folders[-1] / "model.safetensors")
    assert difference(saved, trainer.model.state_dict()) == 0
    state = torch.load(folders[-1] / "optimizer.pt", weights_only=True)["state"]
    shapes = [tuple(one["exp_avg"].shape) for one in state.values()]
    assert (len(trainer.embedding_rows.words), 32) in shapes and (MANY, 32) not in shapes


def test_the_model_is_left_as_it_was(make_trainer, make_model):
    trainer, _, _ = trained(make_trainer, make_model)
    table = trainer.model.get_input_embeddings()
    assert not table.sparse and table.weight.grad is None
    assert not trainer.optimizer.optimizer._optimizer_step_pre_hooks
