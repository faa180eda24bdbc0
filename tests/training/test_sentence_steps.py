"""Training a sentence encoder: it learns the embeddings of its teacher, and resumes to the byte."""

import numpy as np
import pytest
import torch
from sentence_models import encode, make_modules, write_sentence_model
from torch.nn.functional import cosine_similarity

from innerdistill.data.batches import make_collator
from innerdistill.losses.loss import Loss
from innerdistill.losses.registry import LOSSES
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.sentence_encoder import SentenceEncoder, save_sentence_encoder
from innerdistill.models.student import build_student
from innerdistill.training.arguments import make_training_arguments
from innerdistill.training.recompute import check_recomputation
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage

OUTPUT = Loss(lambda teacher, student: 1 - cosine_similarity(teacher, student), needs=("teacher_logits", "student_logits"))  # fmt: skip
STAGES = [
    Stage("layer 1", {"token_cosine": 1.0}, pairs={1: 2}, epochs=1),
    Stage("classification", {"output": 1.0}, pairs={}, epochs=8),
]


@pytest.fixture
def teacher(make_model, tokenizer, tmp_path):
    folder = tmp_path / "teacher"
    write_sentence_model(folder, make_model().base_model, tokenizer, *make_modules(dense=8))
    return SentenceEncoder.from_pretrained(str(folder)).eval()


@pytest.fixture
def train(teacher, tokenizer, tokenised, tmp_path):
    def train(folder, **changes):
        student = build_student(teacher, 2)
        options = {"learning_rate": 2e-3, "per_device_train_batch_size": 8, "use_cpu": True, **changes}
        setup = TrainingSetup(
            train=tokenised,
            collate=make_collator(tokenizer),
            losses={**LOSSES, "output": OUTPUT},
            trainer=options,
            checkpoint_minutes=0,
        )
        records = distill_models(teacher, student, stages=STAGES, setup=setup, folder=tmp_path / folder, resume=True)
        return student, records

    return train


def test_a_killed_training_ends_with_the_same_student_which_has_learned(train, teacher, tokenizer, kill_after, tmp_path, sentences):  # fmt: skip
    whole, records = train("whole")
    losses = [epoch["losses"]["output"] for epoch in records[1].epochs]
    assert losses[-1] < losses[0] / 2
    assert not torch.equal(whole.further[1].linear.weight, teacher.further[1].linear.weight)
    with kill_after(10):
        train("killed")
    resumed, _ = train("killed")
    assert weights_fingerprint(resumed) == weights_fingerprint(whole)
    folder = tmp_path / "saved"
    folder.mkdir()
    save_sentence_encoder(whole, folder)
    tokenizer.save_pretrained(folder)
    texts = [text for text, _ in sentences[:43]]
    encoded = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        assert np.abs(encode(folder, texts) - whole.eval()(**encoded).logits.numpy()).max() < 1e-5


def test_layers_can_be_recomputed_where_the_family_can(train, make_model, tokenizer, tmp_path):
    student, _ = train("whole")
    recomputed, _ = train("recomputed", gradient_checkpointing=True)
    assert weights_fingerprint(recomputed) == weights_fingerprint(student)
    write_sentence_model(tmp_path / "mpnet", make_model("mpnet").base_model, tokenizer, *make_modules())
    model = SentenceEncoder.from_pretrained(str(tmp_path / "mpnet"))
    arguments = make_training_arguments(
        tmp_path, STAGES[1], {"gradient_checkpointing": True, "use_cpu": True}, seed=1, evaluate=False
    )
    with pytest.raises(ValueError, match="transformers cannot recompute layers of mpnet"):
        check_recomputation(model, arguments)
