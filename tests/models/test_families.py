"""Contract of FAMILIES: every family hands out its clean attention, in training too, and changes nothing else."""

import copy
import re

import pytest
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoModelForSequenceClassification
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)
from try_families import make_other

from innerdistill.models.capture import capture, first_layers
from innerdistill.models.families import FAMILIES, encoder_layers, family_of, max_positions, prepare
from innerdistill.models.other_families import REASONS, explain_refusal
from innerdistill.models.probe import probe


def first(output):
    return output[0] if isinstance(output, tuple) else output


LAYERS = dict.fromkeys(range(1, 5), ("attention", "cls", "hidden"))


@pytest.mark.parametrize("family", FAMILIES)
def test_eager_sdpa_and_ours_agree(make_model, batch, family):
    model = make_model(family)
    outputs = []
    for implementation in ("eager",) if FAMILIES[family].replacement else ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        with torch.no_grad():
            outputs.append(model(**batch, output_attentions=implementation == "eager", output_hidden_states=True))
    assert probe(model).num_layers == 4
    with torch.no_grad():
        found = capture(model, batch, layers=LAYERS)
    real = batch["attention_mask"][:, None, :, None].bool()
    for output in outputs:
        assert torch.allclose(found.logits, output.logits, rtol=1e-4, atol=1e-5)
        for layer in range(1, 4):  # the last one may be behind a final norm
            wanted = output.hidden_states[layer] * real[:, 0]
            assert torch.allclose(found.layers[layer].hidden * real[:, 0], wanted, rtol=1e-4, atol=1e-4)
            assert torch.equal(found.layers[layer].cls, found.layers[layer].hidden[:, 0])
    for layer in range(1, 5):
        clean = found.layers[layer].attention.probabilities() * real
        assert torch.allclose(clean, outputs[0].attentions[layer - 1] * real, atol=1e-5)


def test_a_head_with_several_logits_has_them_stacked(make_model, batch):
    model = prepare(AutoModelForQuestionAnswering.from_config(make_model().config).eval())
    with torch.no_grad():
        found, output = capture(model, batch, layers={}).logits, model(**batch)
    assert torch.equal(found, torch.stack([output.start_logits, output.end_logits], dim=-1))


def test_logits_of_a_model_without_a_head_are_refused(make_model, batch):
    model = prepare(make_model().base_model)
    with pytest.raises(ValueError, match="BertModel returns no logits; ask for its layers with logits=False"):
        capture(model, batch, layers={1: ("cls",)})
    assert capture(model, batch, layers={1: ("cls",)}, logits=False).layers[1].cls is not None


@pytest.mark.parametrize("family", FAMILIES)
def test_distribution_is_clean_while_dropout_is_on(make_model, batch, family):
    model = prepare(make_model(family, dropout=0.5)).train()
    found = capture(model, batch, layers={1: ("attention",)})
    rows = found.layers[1].attention.probabilities()
    assert torch.allclose(rows.sum(-1), torch.ones_like(rows.sum(-1)), atol=1e-5)
    assert (rows[1, :, :6, 6:] == 0).all()  # padded keys, exactly
    assert (rows[0] > 0).float().mean() > 0.3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_teacher_in_16_bits_shows_nearly_the_same_attention(make_model, batch, family):
    """A bias in 16 bits is no reason to hide keys with a number that it cannot hold."""
    model = prepare(make_model(family))
    found = []
    for enabled in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            attention = capture(model, batch, layers={1: ("attention",)}, all_tokens=True).layers[1].attention
        found.append(attention.probabilities())
    real = batch["attention_mask"][:, None, :, None].bool()
    assert found[1].dtype == torch.float32 and (found[1][1, :, :6, 6:] == 0).all()
    assert torch.allclose(found[0] * real, found[1] * real, atol=0.1)
    assert ((found[0] - found[1]) * real).abs().mean() < 0.005


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (
            {1: ["attentions"]},
            "layer 1 has no part 'attentions'. Did you mean 'attention'? Parts: attention, cls, hidden, qkv",
        ),
        ({0: ["attention"]}, "layer 0 has no part 'attention'. Parts: cls, hidden."),
        ({1: "cls"}, "expected a list of parts for layer 1, such as ['cls'], got 'cls'"),
    ],
)
def test_an_unknown_part_is_refused_with_those_that_exist(make_model, batch, layers, sentence):
    model = make_model()
    prepare(model)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        capture(model, batch, layers=layers)


@pytest.mark.parametrize("family", FAMILIES)
def test_early_exit_equals_the_full_forward_with_the_same_random_numbers(make_model, batch, family):
    model = prepare(make_model(family)).train()
    torch.manual_seed(0)
    whole = capture(model, batch, layers={2: ("attention", "cls")}, logits=True)
    torch.manual_seed(0)
    early = capture(model, batch, layers={2: ("attention", "cls")}, logits=False, all_tokens=True)
    assert early.logits is None
    assert torch.equal(whole.layers[2].cls, early.layers[2].cls)
    assert torch.equal(whole.layers[2].attention.probabilities(), early.layers[2].attention.probabilities())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("logits", [False, True])
def test_the_top_layer_for_the_first_token_gives_the_same_values_and_gradients(make_model, batch, family, logits):
    found = []
    for all_tokens in (True, False):
        model = make_model(family, dropout=0.0).double()
        probe(model)
        widths = []
        encoder_layers(model)[2].register_forward_hook(
            lambda *call, widths=widths: widths.append(first(call[2]).shape[1])
        )
        layers = {1: ("cls",)} if logits else {1: ("cls",), 3: ("attention", "cls")}
        seen = capture(model.train(), batch, layers=layers, logits=logits, all_tokens=all_tokens)
        parts = [layer.cls for layer in seen.layers.values()]
        parts += [seen.logits] if logits else [seen.layers[3].attention.query, seen.layers[3].attention.key]
        torch.stack([part.square().sum() for part in parts]).sum().backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        found.append([*parts, *gradients])
        assert widths == ([10] if all_tokens or logits else [1])
    assert len(found[0]) == len(found[1])
    for whole, short in zip(*found, strict=True):
        assert torch.allclose(whole, short, rtol=1e-9, atol=1e-9 * (1 + float(whole.detach().abs().max())))


@pytest.mark.parametrize(
    ("family", "pooling"),
    [("modernbert", "mean"), ("modernbert", "cls"), ("eurobert", "mean"), ("eurobert", "late"), ("eurobert", "bos")],
)
@pytest.mark.parametrize("zero", [False, True])
def test_heads_that_read_other_tokens_get_them(make_model, batch, family, pooling, zero):
    model = make_model(family, classifier_pooling=pooling)
    if zero:  # as some start their head: what it reads shows in no output yet
        torch.nn.init.zeros_(model.classifier.weight)
    with torch.no_grad():
        wanted = model(**batch).logits
        probe(model)
        widths = []
        encoder_layers(model)[-1].register_forward_hook(lambda *call: widths.append(first(call[2]).shape[1]))
        assert torch.allclose(capture(model, batch, layers={}).logits, wanted, atol=1e-5)
    assert widths == [1 if pooling in ("cls", "bos") else 10]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prepared_model_is_saved_as_any_other(make_model, batch, family, tmp_path):
    model = prepare(make_model(family))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert "innerdistill" not in (tmp_path / "config.json").read_text()
    with torch.no_grad():
        assert torch.allclose(loaded(**batch).logits, model(**batch).logits, atol=1e-5)


def test_mpnet_loss_reaches_the_shared_position_bias(make_model, batch):
    model = prepare(make_model("mpnet")).train()
    found = capture(model, batch, layers={3: ("attention",)}, logits=False)
    found.layers[3].attention.probabilities().square().sum().backward()
    assert model.base_model.encoder.relative_attention_bias.weight.grad.abs().sum() > 0


def test_layers_are_restored_even_after_an_error(make_model):
    model = make_model()
    with pytest.raises(RuntimeError), first_layers(model, 1):
        assert len(encoder_layers(model)) == 1
        raise RuntimeError
    assert len(encoder_layers(model)) == 4


def test_preparing_one_model_leaves_its_copy_alone(make_model):
    model = make_model()
    other = copy.deepcopy(model)
    prepare(model)
    assert other.config._attn_implementation != model.config._attn_implementation


def test_unprepared_models_and_missing_layers_are_refused(make_model, batch):
    with pytest.raises(ValueError, match="handed out no attention"):
        capture(make_model(), batch, layers={1: ("attention",)})
    with pytest.raises(ValueError, match=r"layers 1 \.\.\. 4"):
        capture(prepare(make_model()), batch, layers={5: ("cls",)})


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("albert", "all its layers share one set of weights, so none can be left out"),
        ("longformer", "no token attends to all others"),
        ("bart", "it has a decoder beside its encoder"),
        ("qwen3", "it is a decoder, whose tokens attend to earlier ones only"),
        ("vit", "FAMILIES has no entry for it"),
    ],
)
def test_other_families_are_refused_by_name_with_the_reason(family, reason):
    with pytest.raises(ValueError, match=f"^layers of the family '{family}' are not supported: {reason}.*: bert"):
        family_of(AutoConfig.for_model(family))


def test_every_encoder_of_transformers_is_supported_or_has_a_reason():
    assert not set(REASONS) & set(FAMILIES)
    classifiers = set(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
    for family in classifiers & set(MODEL_FOR_MASKED_LM_MAPPING_NAMES) - set(FAMILIES):
        assert "has no entry" not in explain_refusal(AutoConfig.for_model(family)), family


def test_positions_taken_by_padding(make_model):
    assert max_positions(make_model("roberta")) == 64
    assert max_positions(make_model("roberta", pad_token_id=3)) == 62
    assert max_positions(make_model("mpnet", pad_token_id=3)) == 64  # it counts from 1 in any case
    assert max_positions(make_model("bert")) == max_positions(make_model("modernbert")) == 66


@pytest.mark.parametrize(("family", "positions"), [("ibert", 65), ("mra", 66), ("yoso", 66)])
def test_positions_of_tables_with_more_rows(family, positions):
    """I-BERT's table is of a class of its own, and begins after the padding id; others have two rows more."""
    model = make_other(family)
    assert max_positions(model) == positions
    ids = torch.full((1, positions + 1), 7)
    with torch.no_grad():
        assert model(input_ids=ids[:, 1:]).logits.isfinite().all()
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            model(input_ids=ids)
