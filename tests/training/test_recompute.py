"""Gradient checkpointing: the same losses and gradients, with and without captured layers."""

import pytest
import torch
from transformers import TrainingArguments

from innerdistill.data.batches import make_collator
from innerdistill.models.families import FAMILIES, encoder_layers
from innerdistill.models.student import build_student
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage

NAMES = ("activation_checkpointing", "gradient_checkpointing")  # of transformers, the newer one first
RECOMPUTE = next(name for name in NAMES if name in TrainingArguments.__dataclass_fields__)
INTERNAL = {"attention_kl": 1.0, "cls_cosine": 1.0}
STAGES = {
    "gold labels": Stage("gold", {"gold_labels": 1.0}, {}, steps=3),
    "soft labels": Stage("soft", {"soft_labels": 1.0}, {}, steps=3),
    "one captured layer": Stage("internal", INTERNAL, {2: 3}, steps=3),
    "everything": Stage("all", {**INTERNAL, "hidden_mse": 1.0, "soft_labels": 1.0}, {1: 2, 2: 3, 3: 4}, steps=3),
}


def train(make_trainer, make_model, family, stage, **options):
    teacher = make_model(family, seed=0)
    student, calls = build_student(teacher, 3), [0, 0, 0]
    for number, layer in enumerate(encoder_layers(student)):
        attention = layer.get_submodule(FAMILIES[family].attention)
        attention.register_forward_pre_hook(lambda *_, number=number: calls.__setitem__(number, calls[number] + 1))
    trainer = make_trainer(stage, teacher=teacher, student=student, options=options)
    calls[:] = [0, 0, 0]
    torch.manual_seed(0)
    trainer.train()
    steps = [(log["loss"], log["grad_norm"]) for log in trainer.state.log_history if "grad_norm" in log]
    return steps, student, calls


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_recomputed_layers_give_the_same_steps(make_trainer, make_model, family, name):
    if family == "mpnet":
        pytest.skip("transformers cannot recompute its layers")
    stage = STAGES[name]
    steps, student, once = train(make_trainer, make_model, family, stage)
    again, recomputed, twice = train(make_trainer, make_model, family, stage, **{RECOMPUTE: True})
    assert steps == again and len(steps) == 3
    for (key, weight), other in zip(student.state_dict().items(), recomputed.state_dict().values(), strict=True):
        assert torch.equal(weight, other), key
    top = max(stage.pairs) if name == "one captured layer" else 3
    assert twice == [2 * calls if number < top else calls for number, calls in enumerate(once, start=1)]
    assert once[0] > 0
    assert not any(getattr(module, "gradient_checkpointing", False) for module in recomputed.modules())


def test_recomputed_layers_in_bfloat16(make_trainer, make_model):
    runs = []
    for recompute in (False, True):
        options = {"bf16": True, RECOMPUTE: recompute}
        runs.append(train(make_trainer, make_model, "bert", STAGES["everything"], **options)[0])
    assert runs[0] == runs[1]


def test_a_family_whose_layers_cannot_be_recomputed_is_refused(make_model, tokenizer, tokenised, tmp_path):
    with pytest.raises(
        ValueError,
        match="trainer.gradient_checkpointing is not supported: transformers cannot recompute layers of mpnet",
    ):
        distill_models(
            None,
            make_model("mpnet"),
            stages=[STAGES["gold labels"]],
            setup=TrainingSetup(train=tokenised, collate=make_collator(tokenizer), trainer={RECOMPUTE: True}),
            folder=tmp_path,
        )
