"""The training step where words are tagged: what must not change the loss."""

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import torch
from piece_tokenizers import make_word_piece_tokenizer

from innerdistill.data.batches import WordCollator, make_collator, split_off_index
from innerdistill.data.ragged import split_ragged
from innerdistill.data.tasks import Task
from innerdistill.data.tokens import tokenise
from innerdistill.data.windows import PIECES
from innerdistill.evaluation.predictions import predict_logits
from innerdistill.losses.loss import LossInputs, collect_needs, measure
from innerdistill.losses.registry import LOSSES
from innerdistill.models.capture import Internals, capture, capture_then
from innerdistill.models.families import FAMILIES
from innerdistill.models.pretrained import load_base
from innerdistill.models.probe import probe
from innerdistill.models.student import build_student
from innerdistill.problem_types.token_classification import TOKEN_CLASSIFICATION
from innerdistill.training import targets as targets_module
from innerdistill.training import trainer as trainer_module
from innerdistill.training.arguments import make_training_arguments
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage, StageRecord
from innerdistill.training.target_store import LOGITS, Part
from innerdistill.training.targets import Targets, fill_store, make_target_store
from innerdistill.training.trainer import DistillationTrainer

NAMES = ("O", "B-good", "I-good", "B-bad", "I-bad")
WORD_PIECE = make_word_piece_tokenizer()
TYPE = TOKEN_CLASSIFICATION
OF_TAGS = {**LOSSES, **TYPE.output_losses}
INTERNAL = {"attention_kl": 1.0, "token_cosine": 1.0}
ALL = Stage("all", {**INTERNAL, "soft_labels": 1.0, "gold_labels": 0.5}, {1: 2, 2: 4}, epochs=2)
PARTS = [LOGITS, *(Part(kind, layer) for kind in ("hidden", "attention", "entropy") for layer in (2, 4))]


def tag(word):
    return f"B-{word.rstrip('0123456789')}" if word.startswith(("good", "bad")) else "O"


@pytest.fixture(scope="module")
def dataset(sentences):
    """Texts of up to three windows, a third of them without tags."""
    rows = [text.split() for text, _ in sentences[:29]]
    block = {"text": rows, "label": [[tag(word) for word in words] if number % 3 else None for number, words in enumerate(rows)]}  # fmt: skip
    task = Task(("text",))
    ((texts,), labels) = TYPE.examples.read_rows(block, task, where="train", first=1, labelled=None)
    table = pa.table({"row": range(1, 30), "text1": texts, "label": pa.chunked_array([pa.array(labels, pa.string())])})
    tokens, _ = tokenise(table, task, WORD_PIECE, examples=TYPE.examples, names=NAMES, max_length=32)
    assert 29 < len(tokens) < 90
    return tokens


@pytest.fixture
def make_tagger(make_model, tmp_path):
    def make(family="bert", *, seed=0, **options):
        folder = tmp_path / f"{family}-{seed}"
        make_model(family, seed=seed, **options).base_model.save_pretrained(folder)
        return load_base(str(folder), TYPE.head, names=NAMES, seed=seed)

    return make


@pytest.fixture
def make_trainer(make_tagger, dataset, tmp_path):
    def make(stage, *, options=None, teacher=None, pad_to=None, targets=None, **changes):
        teacher = teacher or make_tagger(dropout=0.0)
        probe(teacher)
        student = build_student(teacher, 2)
        probe(student)
        defaults = {"learning_rate": 1e-3, "per_device_train_batch_size": 8, "use_cpu": True, "logging_steps": 1}
        arguments = make_training_arguments(tmp_path, stage, {**defaults, **(options or {})}, seed=1, evaluate=False)
        collate = make_collator(WORD_PIECE, pad_to=pad_to, kind=WordCollator)
        train = dataset.add_column("index", list(range(len(dataset)))) if targets else dataset
        setup = TrainingSetup(train=train, collate=collate, losses=OF_TAGS, **changes)
        return DistillationTrainer(
            student, arguments, setup=setup, record=StageRecord(stage), teacher=targets or teacher
        )

    return make


def trajectory(trainer):
    torch.manual_seed(0)
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    return torch.tensor([[entry["loss"], entry["grad_norm"]] for entry in steps], dtype=torch.float64)


def test_accumulation_changes_neither_loss_nor_gradient(make_trainer):
    """Clipping is on; examples do not fill their last batch."""
    whole = trajectory(make_trainer(ALL, options={"per_device_train_batch_size": 16}))
    parts = trajectory(make_trainer(ALL, options={"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}))
    assert len(whole) > 5 and torch.allclose(whole, parts, rtol=1e-5, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_to_a_fixed_length_gives_the_same_steps(make_trainer, make_tagger, family):
    short, long = (
        trajectory(make_trainer(replace(ALL, epochs=1), teacher=make_tagger(family, dropout=0.0), pad_to=pad_to))
        for pad_to in (None, 40)
    )
    assert torch.allclose(short, long, rtol=1e-4)


@pytest.mark.parametrize("pairs", [{1: 2}, {1: 2, 2: 3}])
def test_early_exit_gives_the_same_steps_as_the_full_forward(make_trainer, monkeypatch, pairs):
    stage = Stage("internal", INTERNAL, pairs, steps=10)
    short = trajectory(make_trainer(stage))
    for module, function in ((trainer_module, capture_then), (targets_module, capture)):
        monkeypatch.setattr(module, function.__name__, partial(function, all_tokens=True))
    full = make_trainer(stage)
    monkeypatch.setattr(full, "needs", replace(full.needs, student_logits=True, teacher_logits=True))
    assert torch.allclose(short, trajectory(full), rtol=1e-5)


def test_cached_outputs_give_the_same_steps_as_a_live_teacher(make_trainer, make_tagger, dataset, tmp_path):
    teacher = make_tagger(dropout=0.0)
    store = make_target_store(teacher, dataset, probe(teacher), folder=tmp_path / "targets")
    fill_store(teacher, store, PARTS, dataset, make_collator(WORD_PIECE, kind=WordCollator))
    live = trajectory(make_trainer(ALL, teacher=teacher))
    cached = trajectory(make_trainer(ALL, teacher=teacher, targets=Targets(teacher, store=store)))
    assert torch.allclose(live, cached, rtol=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_outputs_are_those_of_the_teacher(make_tagger, dataset, tmp_path, family):
    """Logits and hidden states of all tokens, of windows of one text too."""
    teacher = make_tagger(family, dropout=0.0)
    store = make_target_store(teacher, dataset, probe(teacher), folder=tmp_path / "targets")
    fill_store(teacher, store, PARTS, dataset, make_collator(WORD_PIECE, kind=WordCollator))
    batch = split_off_index(make_collator(WORD_PIECE, kind=WordCollator))(
        [{**dataset[row], "index": row} for row in (0, 7, 1, 7)]
    )
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    needs = collect_needs(ALL.losses, ALL.pairs, OF_TAGS)
    live, cached = Targets(teacher)(inputs, None, needs), Targets(teacher, store=store)(inputs, batch["index"], needs)
    real = inputs["attention_mask"][..., None].bool()
    assert torch.allclose(cached.logits, live.logits * real, atol=1e-4)
    for layer in (2, 4):
        assert torch.allclose(cached.layers[layer].hidden, live.layers[layer].hidden * real, atol=1e-4)
    of_tokens = split_ragged(np.array(store.arrays[LOGITS]), store.lengths)
    scored = predict_logits(teacher, dataset.select([0]), make_collator(WORD_PIECE, kind=WordCollator))
    assert np.allclose(of_tokens[0][dataset[0][PIECES]], scored[0], atol=1e-4)


def test_a_student_that_is_its_teacher_has_no_loss(make_tagger, dataset):
    teacher = make_tagger(dropout=0.0)
    probe(teacher)
    batch = make_collator(WORD_PIECE, kind=WordCollator)([dataset[row] for row in range(8)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    needs = collect_needs(ALL.losses, {2: 2, 4: 4}, OF_TAGS)
    with torch.no_grad():
        internals = capture(teacher, inputs, layers=needs.teacher_layers, logits=True)
    shared = LossInputs(batch["attention_mask"].bool(), batch["labels"], 2.0, batch["word_mask"])
    losses = {name: OF_TAGS[name] for name in (*INTERNAL, "soft_labels", "gold_labels")}
    found = measure(losses, {2: 2, 4: 4}, internals, internals, shared)
    for name, values in found.items():
        is_gold = name == "gold_labels"
        assert torch.allclose(values, torch.zeros(8), atol=2e-6) != is_gold
    assert (found["gold_labels"] > 0).tolist() == (batch["labels"] >= 0).any(1).tolist()


def test_soft_labels_read_words_and_nothing_else(make_tagger, dataset):
    """What a teacher says of continuation pieces, [CLS] and padding does not count."""
    batch = make_collator(WORD_PIECE, kind=WordCollator)([dataset[row] for row in range(6)])
    mask = batch["word_mask"]
    teacher, student = torch.randn(2, *mask.shape, len(NAMES), generator=torch.Generator().manual_seed(0))
    noise = torch.where(mask[..., None], 0, 50.0)
    shared = LossInputs(batch["attention_mask"].bool(), batch["labels"], 1.0, mask)
    soft = {"soft_labels": OF_TAGS["soft_labels"]}
    first = measure(soft, {}, Internals(teacher), Internals(student), shared)["soft_labels"]
    second = measure(soft, {}, Internals(teacher + noise * teacher), Internals(student - noise), shared)["soft_labels"]
    assert torch.equal(first, second) and (first > 0).all()


def test_a_threshold_reads_the_cosine_of_tokens(make_trainer):
    trainer = make_trainer(Stage("internal", INTERNAL, {1: 2}, epochs=5, threshold=1.9))
    trainer.train()
    assert len(trainer.record.epochs) == 1 and trainer.record.ended.startswith("threshold: cosine")
    cosine = trainer.record.epochs[0]["losses"]["token_cosine/1"]
    assert trainer.record.ended == f"threshold: cosine {cosine:.4f} below 1.9"
