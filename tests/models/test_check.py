"""What is wrong with a model folder is said in one sentence, the same by every command that reads it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from innerdistill import export
from innerdistill.models.check import check_source, check_student, check_windows
from innerdistill.models.pretrained import load_base, load_tokenizer
from innerdistill.models.probe import probe
from innerdistill.problem_types.problem_types import load_fine_tuned
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.run.predict import predict_file
from innerdistill.run.speed import load_models

HEAD = SINGLE_LABEL_CLASSIFICATION.head


@pytest.fixture
def classifier(make_model, tokenizer, tmp_path):
    """Folder of a complete classifier, which a test damages."""
    make_model(layers=2, id2label={0: "neg", 1: "pos"}).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder, **keys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))


def pickle_weights(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


FAULTS = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "expected a model folder with a config.json"),
    "family": (
        lambda folder: change_config(folder, model_type="gpt2"),
        "models of the family 'gpt2' are not supported",
    ),
    "pickle": (pickle_weights, "pytorch_model.bin is a pickle, which may run code when it is read"),
    "cut": (
        lambda folder: change_weights(folder, lambda weights: weights.pop("bert.embeddings.word_embeddings.weight")),
        "its files do not hold all weights that its config.json asks for (1 are missing",
    ),
    "no head": (
        lambda folder: change_weights(folder, lambda weights: weights.pop("classifier.weight")),
        "this is a base model, its classification head is missing (classifier.weight)",
    ),
    "shape": (
        lambda folder: change_weights(folder, lambda weights: weights.update({"classifier.bias": torch.zeros(3)})),
        "classifier.bias is [3] in its files and [2] by its config.json",
    ),
    "NaN": (
        lambda folder: change_weights(folder, lambda weights: weights["classifier.bias"].fill_(torch.nan)),
        "classifier.bias holds values that are not finite",
    ),
    "two labels": (
        lambda folder: change_config(folder, id2label={"0": "same", "1": "same"}),
        "two outputs are called 'same'; give each a name of its own (id2label)",
    ),
    "multi-label": (
        lambda folder: change_config(folder, problem_type="multi_label_classification"),
        "a head for multi_label_classification is not supported",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_command_refuses_a_classifier_with_the_same_sentence(classifier, data_folder, fault):
    damage, sentence = FAULTS[fault]
    damage(classifier)
    commands = [
        lambda: load_fine_tuned(str(classifier)),
        lambda: load_models([str(classifier)]),
        lambda: export(classifier),
        lambda: predict_file(classifier, data_folder / "validation.csv", text=["text"]),
    ]
    sentences = set()
    for command in commands:
        with pytest.raises(ValueError) as error:
            command()
        sentences.add(str(error.value))
    assert len(sentences) == 1 and sentence in sentences.pop()


def test_a_complete_classifier_passes(classifier):
    model, problem_type = load_fine_tuned(str(classifier))
    assert problem_type is SINGLE_LABEL_CLASSIFICATION and not model.training


def test_a_base_model_needs_all_weights_of_its_encoder_but_no_head_and_no_pooler(classifier):
    def drop_head_and_pooler(weights):
        for name in [name for name in weights if name.startswith(("classifier.", "bert.pooler."))]:
            del weights[name]

    change_weights(classifier, drop_head_and_pooler)
    assert load_base(str(classifier), HEAD, names=("a", "b", "c")).config.num_labels == 3
    change_weights(classifier, lambda weights: weights.pop("bert.embeddings.word_embeddings.weight"))
    with pytest.raises(ValueError, match="do not hold the weights of a BertForSequenceClassification .1 are missing"):
        load_base(str(classifier), HEAD, names=("a", "b"))


def test_a_tokenizer_without_words_or_padding_is_refused(classifier, tokenizer, tmp_path):
    for file in classifier.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match="its tokenizer knows no words|no tokenizer could be loaded"):
        load_tokenizer(str(classifier))
    padding, tokenizer.pad_token = tokenizer.pad_token, None
    tokenizer.save_pretrained(tmp_path / "padless")
    tokenizer.pad_token = padding
    shutil.copy(classifier / "config.json", tmp_path / "padless")
    with pytest.raises(ValueError, match="the tokenizer has no padding token"):
        load_tokenizer(str(tmp_path / "padless"))


def test_a_student_has_the_outputs_and_the_tokens_of_its_teacher(make_model):
    teacher = make_model(id2label={0: "neg", 1: "pos"})
    check_student(make_model(layers=2, id2label={0: "neg", 1: "pos"}), teacher, HEAD)
    with pytest.raises(ValueError, match="its outputs are pos, neg, the teacher's are neg, pos"):
        check_student(make_model(id2label={0: "pos", 1: "neg"}), teacher, HEAD)
    with pytest.raises(ValueError, match="the teacher's vocab_size is 128, the student's 200"):
        check_student(make_model(vocab_size=200, id2label={0: "neg", 1: "pos"}), teacher, HEAD)


def test_a_source_is_as_wide_as_the_teacher_and_has_a_head_that_fits(make_model):
    teacher = make_model()
    architecture = probe(teacher)
    check_source(make_model(seed=1), teacher, architecture, copies_head=True)
    with pytest.raises(ValueError, match="same hidden_size, but the teacher has 32 and the student 48"):
        check_source(make_model(hidden_size=48), teacher, architecture, copies_head=False)
    with pytest.raises(ValueError, match="same num_heads, but the teacher has 4 and the student 2"):
        check_source(make_model(num_attention_heads=2), teacher, architecture, copies_head=False)
    with pytest.raises(ValueError, match="a BertForSequenceClassification's head does not fit a Electra"):
        check_source(make_model("electra", embedding_size=32), teacher, architecture, copies_head=True)


def test_a_window_under_a_whole_text_is_refused(make_model):
    teacher = make_model("modernbert")  # layers 1 and 4 attend to the whole text
    check_windows({1: 1, 2: 4}, {1: 1, 2: 4}, source=teacher, teacher=teacher)
    with pytest.raises(ValueError, match="teacher layer 4 attends to the whole text, student layer 2 only to a window"):
        check_windows({2: 4}, {1: 1, 2: 2}, source=teacher, teacher=teacher)
    check_windows({2: 4}, {1: 1, 2: 2}, source=make_model(), teacher=make_model())
