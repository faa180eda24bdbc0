import pytest
import torch
from transformers import AutoModelForSequenceClassification

from innerdistill.models.families import FAMILIES, encoder_layers
from innerdistill.models.layer_map import choose_layers, uniform_layers
from innerdistill.models.pretrained import load_base
from innerdistill.models.probe import probe
from innerdistill.models.student import build_student
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION


def parameters(layer):
    return torch.cat([value.flatten() for _, value in sorted(layer.state_dict().items())])


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_and_embeddings_are_copied_and_owned(make_model, family):
    teacher = make_model(family)
    student = build_student(teacher, 2, seed=5)
    assert probe(student).num_layers == 2 and student.config.num_hidden_layers == 2
    assert teacher.config.num_hidden_layers == 4
    for ours, theirs in zip(encoder_layers(student), (2, 4), strict=True):
        source = encoder_layers(teacher)[theirs - 1].state_dict()
        for name, value in ours.state_dict().items():
            assert torch.equal(value, source[name]), name
    assert torch.equal(student.get_input_embeddings().weight, teacher.get_input_embeddings().weight)
    shared = {p.data_ptr() for p in student.parameters()} & {p.data_ptr() for p in teacher.parameters()}
    assert not shared and student.config is not teacher.config


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_student_is_loaded_with_its_layers(make_model, batch, family, tmp_path):
    """Also where the configuration holds one value per layer."""
    student = build_student(make_model(family), 2, layers=(2, 3))
    student.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.allclose(loaded(**batch).logits, student(**batch).logits, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_layers_and_the_teachers_head_make_the_teacher(make_model, batch, family):
    teacher = make_model(family)
    student = build_student(teacher, 4, head=teacher)
    with torch.no_grad():
        assert torch.equal(student(**batch).logits, teacher(**batch).logits)


def test_the_head_depends_on_the_seed_only(make_model):
    teacher = make_model()
    heads = [build_student(teacher, 2, layers=layers, seed=seed).classifier.weight
             for layers, seed in (("uniform", 1), ("last", 1), ("uniform", 2))]  # fmt: skip
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_building_draws_nothing_from_the_global_generator(make_model):
    teacher = make_model()
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    build_student(teacher, 2)
    assert torch.equal(torch.rand(1), wanted)


def test_random_copies_nothing(make_model):
    teacher = make_model()
    student = build_student(teacher, 2, random=True)
    assert not torch.equal(student.get_input_embeddings().weight, teacher.get_input_embeddings().weight)


@pytest.mark.parametrize("of", range(1, 13))
def test_uniform_map_goes_up_and_ends_at_the_last_layer(of):
    for num_layers in range(1, of + 1):
        chosen = uniform_layers(num_layers, of)
        assert list(chosen) == sorted(set(chosen)) and chosen[-1] == of and chosen[0] >= 1


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("first", {1: 1, 2: 2}),
        ("last", {1: 5, 2: 6}),
        ((1, 6), {1: 1, 2: 6}),
        ({2: 6}, {2: 6}),
        ("uniform", {1: 3, 2: 6}),
    ],
)
def test_choices(choice, wanted):
    assert choose_layers(choice, 2, 6, key="layer_map") == wanted


@pytest.mark.parametrize(
    ("choice", "num_layers", "message"),
    [
        ("uniform", 7, "only 6"),
        ((1, 7), 2, "layer 7 is out of range 1 ... 6"),
        ((1, 2, 3), 2, "expected 2 layers"),
        ({3: 1}, 2, "student layer 3 is out of range"),
    ],
)
def test_choices_out_of_range(choice, num_layers, message):
    with pytest.raises(ValueError, match=message):
        choose_layers(choice, num_layers, 6, key="layer_map")


def test_a_classifier_as_base_gets_a_new_head(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    old = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    new, same, other = (
        load_base(str(tmp_path), SINGLE_LABEL_CLASSIFICATION.head, names=("a", "b"), seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(new.get_input_embeddings().weight, old.get_input_embeddings().weight)
    assert torch.equal(new.classifier.weight, same.classifier.weight)
    assert not torch.equal(new.classifier.weight, old.classifier.weight)
    assert not torch.equal(new.classifier.weight, other.classifier.weight)
