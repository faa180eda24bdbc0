"""probe: all supported families pass, and a model that would be distilled wrongly is refused with the true reason."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.models.bert.modeling_bert import BertSelfAttention

from innerdistill.models.capture import capture
from innerdistill.models.clean_attention import IMPLEMENTATION, clean_attention
from innerdistill.models.families import FAMILIES, Family, prepare, use_own_attention
from innerdistill.models.probe import Architecture, probe

SIZES = {
    "vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 66, "pad_token_id": 0,
}  # fmt: skip
GPT2 = {"vocab_size": 128, "n_embd": 32, "n_layer": 3, "n_head": 4, "bos_token_id": 2, "eos_token_id": 3}


def model_of(family, **sizes):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, **sizes)).eval()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("training", [False, True])
def test_every_family_passes_and_probing_leaves_no_trace(make_model, family, training):
    model = make_model(family).train(training)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    for _ in range(2):  # a model that is prepared already is probed as any other
        assert probe(model) == Architecture(num_layers=4, hidden_size=32, num_heads=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert FAMILIES[family].replacement or model.config._attn_implementation == IMPLEMENTATION


@pytest.mark.parametrize(
    ("family", "sizes", "entry"),
    [
        ("qwen2", {**SIZES, "num_key_value_heads": 2}, Family("layers", "self_attn")),
        ("llama", {**SIZES, "num_key_value_heads": 2}, Family("layers", "self_attn")),
        ("gpt2", {**GPT2, "pad_token_id": 0}, Family("h", "attn")),
    ],
)
@pytest.mark.parametrize("prepared", [False, True])
def test_a_decoder_is_refused_because_it_would_attend_to_later_tokens(monkeypatch, family, sizes, entry, prepared):
    """Its padded batch alone passes: there the mask is causal. Without padding transformers leaves the mask out."""
    monkeypatch.setitem(FAMILIES, family, entry)
    model = model_of(family, **sizes)
    if prepared:
        prepare(model)
    with pytest.raises(ValueError, match=rf"family '{family}' .* attends to later tokens too \(.* on unpadded texts"):
        probe(model)


def faulty_attention(change):
    """BERT's attention through `clean_attention`, with a fault."""

    class FaultyAttention(BertSelfAttention):
        def forward(self, hidden_states, attention_mask=None, **kwargs):
            shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
            parts = [part(hidden_states).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value)]
            mask, scaling = change(attention_mask, self.attention_head_size**-0.5)
            output, weights = clean_attention(self, *parts, mask, scaling=scaling)
            return output.flatten(-2), weights

    return FaultyAttention


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda mask, scaling: (mask, 2 * scaling),
            "with innerdistill's attention the output of layer 1 changes on pad",
        ),
        (lambda mask, scaling: (None, scaling), "in layer 1 real tokens attend to padding"),
        (lambda mask, scaling: (mask, float("nan")), "in layer 1 rows of the attention do not sum to 1"),
    ],
)
def test_a_family_whose_replacement_is_wrong_is_refused(make_model, monkeypatch, change, message):
    monkeypatch.setitem(FAMILIES, "bert", Family("encoder.layer", "attention.self", faulty_attention(change)))
    with pytest.raises(ValueError, match=f"models of the family 'bert' are not supported: {message}"):
        probe(make_model())


@pytest.mark.parametrize("broken", [False, True])
def test_the_comparisons_of_the_families_tests_notice_a_broken_mask(make_model, batch, monkeypatch, broken):
    """A control: what the tests of all families compare is equal with the right mask, and differs without one."""
    attention = faulty_attention(lambda mask, scaling: (None if broken else mask, scaling))
    monkeypatch.setitem(FAMILIES, "bert", Family("encoder.layer", "attention.self", attention))
    model = make_model()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = model(**batch, output_attentions=True, output_hidden_states=True)
        prepare(model)
        found = capture(model, batch, layers={2: ("attention", "hidden")}, all_tokens=True)
        longer = {name: torch.nn.functional.pad(values, (0, 5)) for name, values in batch.items()}
        padded = capture(model, longer, layers={}).logits
    real = batch["attention_mask"][:, None, :, None].bool()
    pairs = (
        (found.logits, wanted.logits),
        (found.layers[2].hidden * real[:, 0], wanted.hidden_states[2] * real[:, 0]),
        (found.layers[2].attention.probabilities() * real, wanted.attentions[1] * real),
        (padded, wanted.logits),
    )
    assert [torch.allclose(ours, own, rtol=1e-4, atol=1e-4) for ours, own in pairs] == [not broken] * 4


class DetachedAttention(BertSelfAttention):
    """Hands out an attention that is right, but a copy: a loss of it reaches nothing."""

    def forward(self, hidden_states, attention_mask=None, **kwargs):
        shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        query, key, value = (
            part(hidden_states).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mask, scaling = attention_mask, self.attention_head_size**-0.5
        output, weights = clean_attention(self, query.detach(), key.detach(), value, mask, scaling=scaling)
        return output.flatten(-2), weights


def test_a_saturated_attention_is_no_reason_to_refuse(make_model):
    """Every probability is exactly 0 or 1, and so is every gradient 0, as after a training that went wrong."""
    model = make_model()
    with torch.no_grad():
        for layer in model.base_model.encoder.layer:
            layer.attention.self.query.weight.mul_(1e4)
    assert probe(model).num_layers == 4


def test_gradients_are_tried_where_they_are_switched_off(make_model):
    with torch.no_grad():
        assert probe(make_model()).num_layers == 4


def detach_output(_module, _inputs, output):
    return output[0].detach() if isinstance(output, tuple) else output.detach()


@pytest.mark.parametrize("frozen", [False, True])
def test_a_family_whose_attention_gets_no_gradient_is_refused(make_model, monkeypatch, frozen):
    monkeypatch.setitem(FAMILIES, "bert", Family("encoder.layer", "attention.self", DetachedAttention))
    model = make_model().requires_grad_(not frozen)
    with pytest.raises(ValueError, match="a loss of the attention of layer 1 gives the layer no gradient"):
        probe(model)
    assert all(parameter.requires_grad != frozen and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("output", "a loss of the activations of layer 2 gives the layer no gradient"),
        ("", "a loss of the activations of layer 3 gives layer 2 no gradient"),
    ],
)
def test_layers_through_which_no_gradient_passes_are_refused(make_model, module, message):
    model = make_model()
    if module:
        model.base_model.encoder.layer[1].get_submodule(module).register_forward_hook(detach_output)
    else:  # between two layers
        model.base_model.encoder.layer[2].register_forward_pre_hook(lambda _, inputs: (inputs[0].detach(), *inputs[1:]))
    with pytest.raises(ValueError, match=message):
        probe(model)


def test_a_replacement_that_is_right_passes(make_model, monkeypatch):
    right = faulty_attention(lambda mask, scaling: (mask, scaling))
    monkeypatch.setitem(FAMILIES, "bert", Family("encoder.layer", "attention.self", right))
    assert probe(make_model()).num_layers == 4


@pytest.mark.parametrize(
    ("family", "entry", "message"),
    [
        ("deberta-v2", Family("encoder.layer", "attention.self"), "the attention of layer 1 cannot be recorded, since"),
        ("albert", Family("encoder.albert_layer_groups.0.albert_layers", "attention"), "finds 1 of 3 layers"),
        ("ernie", Family("encoder", "attention.self"), r"FAMILIES\['ernie'\].layers: 'encoder' is a ErnieEncoder"),
    ],
)
def test_a_family_that_cannot_be_captured_is_refused(monkeypatch, family, entry, message):
    monkeypatch.setitem(FAMILIES, family, entry)
    with pytest.raises(ValueError, match=message):
        probe(model_of(family, **SIZES))


@pytest.mark.parametrize("family", FAMILIES)
def test_own_attention_is_transformers_and_is_put_back(make_model, batch, family):
    model = prepare(make_model(family))
    with torch.no_grad():
        with use_own_attention(model):
            weights = model(**batch, output_attentions=True).attentions  # which clean attention does not hand out
        clean = capture(model, batch, layers={1: ("attention",)}).layers[1].attention.probabilities()
    real = batch["attention_mask"][:, None, :, None].bool()
    assert torch.allclose(clean * real, weights[0] * real, atol=1e-5)
