"""DeBERTa's variants: the same answers and gradients as transformers' own attention, from the inside too."""

import copy

import pytest
import torch

from innerdistill.losses.blocked_kl import blocked_attention_kl
from innerdistill.models.capture import capture, runs_first_token
from innerdistill.models.families import encoder_layers, prepare
from innerdistill.models.probe import probe
from innerdistill.models.student import build_student

FAMILIES = ("deberta", "deberta-v2")
CHANGES = {
    "as it is": {},
    "content to position alone": {"pos_att_type": ["c2p"]},
    "position to content alone": {"pos_att_type": ["p2c"]},
    "no relative positions": {"relative_attention": False, "pos_att_type": [], "position_biased_input": True},
    "positions and types at the input": {"position_biased_input": True, "type_vocab_size": 2},
    "positions that reach farther than the text": {"max_relative_positions": -1},
}
ONLY_V2 = {
    "keys of their own": {"share_att_key": False},
    "no buckets": {"position_buckets": -1},
    "no norm": {"norm_rel_ebd": "none"},
    "convolution": {"conv_kernel_size": 3, "conv_act": "gelu"},
    "small embeddings": {"embedding_size": 16},
}
VARIANTS = [("deberta", name, changes) for name, changes in CHANGES.items()]
VARIANTS += [("deberta-v2", name, changes) for name, changes in {**CHANGES, **ONLY_V2}.items()]


@pytest.fixture(params=VARIANTS, ids=lambda variant: f"{variant[0]}: {variant[1]}")
def model(request, make_model):
    family, _, changes = request.param
    return make_model(family, dropout=0.0, **changes).double()


def assert_close(ours, theirs, **options):
    """transformers computes the scaling in float32, so more digits do not agree."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, **options)


def test_answers_activations_and_gradients_are_those_of_transformers(model, batch):
    own = copy.deepcopy(model)
    probe(model)
    found = capture(model, batch, layers=dict.fromkeys(range(1, 5), ("attention", "hidden")))
    wanted = own(**batch, output_hidden_states=True, output_attentions=True)
    real = batch["attention_mask"].bool()
    for number in range(1, 5):
        layer = found.layers[number]
        assert_close(layer.hidden[real], wanted.hidden_states[number][real])
        ours, theirs = layer.attention.probabilities(), wanted.attentions[number - 1]
        assert_close(ours.transpose(1, 2)[real], theirs.transpose(1, 2)[real])
    assert_close(found.logits, wanted.logits)
    found.logits.square().sum().backward()
    wanted.logits.square().sum().backward()
    for (name, ours), theirs in zip(model.named_parameters(), own.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad, msg=name)


def test_the_top_layer_for_the_first_token_alone(model, batch):
    probe(model)
    assert model in runs_first_token
    for top in range(1, 5):
        found = [
            capture(model, batch, layers={top: ("attention", "cls")}, logits=False, all_tokens=all_tokens)
            for all_tokens in (True, False)
        ]
        whole, short = (each.layers[top] for each in found)
        torch.testing.assert_close(short.cls, whole.cls)
        torch.testing.assert_close(short.attention.probabilities(), whole.attention.probabilities())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_that_needs_all_tokens_gets_them(make_model, batch, family, monkeypatch):
    monkeypatch.setattr("innerdistill.models.deberta.is_second_pass", lambda: False)  # it fails for one token alone
    model = make_model(family)
    probe(model)
    assert model not in runs_first_token
    found = [
        capture(model, batch, layers={2: ("cls",)}, logits=False, all_tokens=all_tokens) for all_tokens in (True, False)
    ]
    assert torch.equal(found[0].layers[2].cls, found[1].layers[2].cls)


def test_the_attention_loss_reaches_relative_positions(model, batch, make_model):
    probe(model)
    teacher = prepare(make_model(dropout=0.0, seed=3).double())
    mask = batch["attention_mask"].bool()
    gradients = []
    for loss in (blocked_attention_kl, compute_plain_kl):
        model.zero_grad()
        ours = capture(model, batch, layers={2: ("attention",)}, logits=False).layers[2].attention
        theirs = capture(teacher, batch, layers={3: ("attention",)}, logits=False).layers[3].attention
        loss(theirs, ours, mask).sum().backward()
        parameters = model.base_model.encoder.named_parameters()
        gradients.append({name: weight.grad.clone() for name, weight in parameters if weight.grad is not None})
    reached = {name for name, gradient in gradients[0].items() if gradient.abs().sum() > 0}
    assert ("rel_embeddings.weight" in reached) == model.config.relative_attention
    torch.testing.assert_close(*gradients)


def compute_plain_kl(teacher, student, mask):
    log_probs, ours = teacher.log_probabilities().detach(), student.log_probabilities()
    kl = (log_probs.exp() * (log_probs - ours)).sum(-1)  # (B, H, L)
    rows = mask[:, None].expand_as(kl)
    return torch.where(rows, kl, 0).sum((1, 2)) / rows.sum((1, 2))


def test_a_student_has_tables_and_convolution_of_its_source(model, batch):
    probe(model)
    student = build_student(model, 2, layers=[1, 4], head=model)
    assert len(encoder_layers(student)) == 2
    weights, source = student.state_dict(), model.state_dict()
    for name in weights:
        origin = name.replace("encoder.layer.1.", "encoder.layer.3.")
        assert torch.equal(weights[name], source[origin]), name
    probe(student)
    assert capture(student, batch, layers={}).logits.isfinite().all()


def test_mixed_heads_are_refused_with_the_true_reason(make_model):
    with pytest.raises(ValueError, match="'deberta' are not supported: with innerdistill's attention the output of"):
        probe(make_model("deberta", talking_head=True))
