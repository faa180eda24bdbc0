"""What is wrong with a model folder is said in one sentence, the same by every command that reads it."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from innerdistill import export
from innerdistill.models.check import check_same_inputs, check_source, check_student, check_windows
from innerdistill.models.pretrained import load_base, load_tokenizer, longest_input
from innerdistill.models.probe import probe
from innerdistill.problem_types.problem_types import load_fine_tuned
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.recipe.recipe import Recipe
from innerdistill.run.assemble import assemble
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


def add_weight(folder, name):
    change_weights(folder, lambda weights: weights.update({name: torch.zeros(3, 3)}))


def change_config(folder, **keys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))


def add_peft_prefix(weights):
    for name in list(weights):
        weights[f"base_model.model.{name}"] = weights.pop(name)


def rename_to_roberta(weights):
    for key in list(weights):
        weights[key.replace("bert.", "roberta.")] = weights.pop(key)


def pickle_weights(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


FAULTS = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "expected a model folder with a config.json"),
    "quantised": (
        lambda folder: change_config(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
        "its weights are quantised (gptq, quantization_config in its config.json), and innerdistill computes in float32",
    ),
    "attention of another package": (
        lambda folder: change_config(folder, _attn_implementation="flash_attention_2"),
        "its config.json asks for the attention implementation 'flash_attention_2'",
    ),
    "own code": (
        lambda folder: change_config(folder, model_type="bert_x", auto_map={"AutoConfig": "code.Config"}),
        "this model needs code of its own (auto_map in its config.json), which is never run, and transformers has no "
        "family 'bert_x'. transformers has the family 'bert'",
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
    "adapter": (
        lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}'),
        "this is an adapter (adapter_config.json), which would not be used; merge it first",
    ),
    "adapter alone": (
        lambda folder: (folder / "config.json").rename(folder / "adapter_config.json"),
        "this is an adapter (adapter_config.json), which would not be used; merge it first",
    ),
    "adapter inside": (
        lambda folder: add_weight(folder, "bert.encoder.layer.0.attention.self.query.lora_A.default.weight"),
        "this is an adapter (its files hold bert.encoder.layer.0.attention.self.query.lora_A.default.weight), which",
    ),
    "adapter around": (
        lambda folder: change_weights(folder, add_peft_prefix),
        "this is an adapter (its files hold base_model.model.bert.embeddings.LayerNorm.bias), which would not be used; "
        "merge it first: peft.AutoPeftModelForSequenceClassification",
    ),
    "fewer layers in config": (
        lambda folder: change_config(folder, num_hidden_layers=1),
        "its files hold 2 layers, config.json says 1 (16 weights would not be used, bert.encoder.layer.1.",
    ),
    "more layers in config": (
        lambda folder: change_config(folder, num_hidden_layers=3),
        "bert.encoder.layer.2.attention.output.LayerNorm.bias first); they hold 2 layers, config.json says 3; copy",
    ),
    "weights that are not used": (
        lambda folder: add_weight(folder, "bert.encoder.layer.0.output.adapter.weight"),
        "its files hold weights that would not be used (1, bert.encoder.layer.0.output.adapter.weight first)",
    ),
    "weights of another model": (
        lambda folder: change_weights(folder, rename_to_roberta),
        "LayerNorm.bias first); they hold those of another model, such as roberta.embeddings.LayerNorm.bias",
    ),
    "another head": (
        lambda folder: add_weight(folder, "projection.weight"),
        "its files hold weights of another head (1, projection.weight first), which would not be used",
    ),
    "no pooler": (
        lambda folder: change_weights(folder, lambda weights: weights.pop("bert.pooler.dense.weight")),
        "the pooler that its classification head reads (bert.pooler.dense.weight is missing)",
    ),
    "relative positions in config": (
        lambda folder: change_config(folder, position_embedding_type="relative_key"),
        "it was trained with relative positions",
    ),
    "relative positions in files": (
        lambda folder: add_weight(folder, "bert.encoder.layer.0.attention.self.distance_embedding.weight"),
        "it was trained with relative positions",
    ),
    "label without a name": (
        lambda folder: change_config(folder, id2label={"0": "neg", "1": None}),
        "id2label in its config.json calls output 1 null; write the name of its label there",
    ),
    "labels from 1": (
        lambda folder: change_config(folder, id2label={"1": "neg", "2": "pos"}),
        "id2label in its config.json numbers the 2 outputs 1, 2; number them from 0 to 1",
    ),
    "gap between labels": (
        lambda folder: change_config(folder, id2label={"0": "neg", "2": "pos"}),
        "id2label in its config.json numbers the 2 outputs 0, 2; number them from 0 to 1",
    ),
    "number in quotes": (
        lambda folder: change_config(folder, num_labels="2"),
        "its config.json cannot be read ('str' object cannot be interpreted as an integer)",
    ),
    "list of labels": (
        lambda folder: change_config(folder, id2label=["neg", "pos"]),
        "id2label in its config.json is ['neg', 'pos']; expected {\"0\": \"negative\"",
    ),
    "list of ids": (
        lambda folder: change_config(folder, label2id=["neg", "pos"]),
        "label2id in its config.json is ['neg', 'pos']; expected a mapping from label to number",
    ),
    "swapped label maps": (
        lambda folder: change_config(folder, id2label={"neg": 0, "pos": 1}, label2id={"0": "neg", "1": "pos"}),
        "id2label and label2id in its config.json are swapped",
    ),
    "words for ids": (
        lambda folder: change_config(folder, id2label={"first": "neg", "second": "pos"}),
        "id2label in its config.json has the key 'first'; expected the number of an output",
    ),
    "ids for words": (
        lambda folder: change_config(folder, label2id={"0": "neg", "1": "pos"}),
        "gives '0' the id 'neg', expected a number; are id2label and label2id swapped?",
    ),
    "label maps that contradict each other": (
        lambda folder: change_config(folder, label2id={"neg": 1, "pos": 0}),
        "contradict each other: the id of 'neg' is 0 in the one and 1 in the other",
    ),
    "two labels": (
        lambda folder: change_config(folder, id2label={"0": "same", "1": "same"}),
        "two outputs are called 'same'; give each a name of its own (id2label)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_command_refuses_a_classifier_with_the_same_sentence(classifier, data_folder, recipe, fault):
    damage, sentence = FAULTS[fault]
    damage(classifier)
    check_refusals(list_commands(classifier, data_folder, recipe), sentence)


def list_commands(classifier, data_folder, recipe):
    content = recipe("unused", teacher={"path": str(classifier), "base": None})
    return [
        lambda: assemble(Recipe.model_validate(content)),
        lambda: load_fine_tuned(str(classifier)),
        lambda: load_models([str(classifier)]),
        lambda: export(classifier),
        lambda: predict_file(classifier, data_folder / "validation.csv", text=["text"]),
    ]


def check_refusals(commands, sentence):
    sentences = set()
    for command in commands:
        with pytest.raises(ValueError) as error:
            command()
        sentences.add(str(error.value).removeprefix("teacher.path: ").removeprefix("teacher: "))
    assert len(sentences) == 1 and sentence in sentences.pop()


def test_a_masked_language_model_is_called_one(classifier, data_folder, recipe):
    change_weights(classifier, lambda weights: [weights.pop(f"classifier.{part}") for part in ("weight", "bias")])
    change_config(classifier, architectures=["BertForMaskedLM"])
    sentence = "this is a BertForMaskedLM, its classification head is missing (classifier.bias, classifier.weight): set"
    check_refusals(list_commands(classifier, data_folder, recipe)[1:], sentence)


def test_code_of_its_own_is_not_run_and_said(classifier, caplog):
    change_config(classifier, auto_map={"AutoModelForSequenceClassification": "code.Model"})
    assert load_fine_tuned(str(classifier))[0].config.model_type == "bert"
    assert "names code of its own (auto_map in its config.json), which is never run" in caplog.text


def test_a_complete_classifier_passes(classifier):
    model, problem_type = load_fine_tuned(str(classifier))
    assert problem_type is SINGLE_LABEL_CLASSIFICATION and not model.training
    assert model.config.label2id == {"neg": 0, "pos": 1}


@pytest.mark.parametrize(("values", "names"), [([0, 1], ("0", "1")), ([False, True], ("false", "true"))])
def test_labels_that_are_numbers_or_truth_values_are_read_as_text(classifier, data_folder, tmp_path, values, names):
    change_config(classifier, id2label=dict(enumerate(values)), label2id=None)
    config = load_fine_tuned(str(classifier))[0].config
    assert HEAD.name_outputs(config) == names and config.label2id == {names[0]: 0, names[1]: 1}
    table = predict_file(classifier, data_folder / "validation.csv", text=["text"])
    assert set(table["predicted_label"].to_pylist()) <= set(names)


def test_names_that_only_label2id_has_are_said(classifier, caplog):
    load_fine_tuned(str(classifier))
    change_config(classifier, label2id=None)  # then transformers makes one up
    load_fine_tuned(str(classifier))
    assert "label2id" not in caplog.text
    change_config(classifier, label2id={"negative": 0, "pos": 1, "positive": 1})
    assert load_fine_tuned(str(classifier))[0].config.label2id == {"neg": 0, "pos": 1}
    assert (
        "label2id in its config.json has names that id2label does not have; they are not used: negative, positive"
        in (caplog.text)
    )


def test_an_adapter_on_the_hub_is_called_one(tmp_path, monkeypatch):
    """Of a name that the local cache of the Hub knows."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--adapter"
    for folder in ("refs", "snapshots/0123"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123")
    (repository / "snapshots" / "0123" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(
        ValueError, match=r"^someone/adapter: this is an adapter \(adapter_config.json\).* merge it first"
    ):
        load_fine_tuned("someone/adapter")
    with pytest.raises(ValueError, match="^someone/other: no model found there"):
        load_fine_tuned("someone/other")


def test_the_label_map_of_a_score_means_nothing(make_model, tmp_path):
    make_model(num_labels=1).save_pretrained(tmp_path)
    change_config(tmp_path, id2label={"0": None}, label2id={"other": 7})
    assert load_fine_tuned(str(tmp_path))[1] is REGRESSION


@pytest.mark.parametrize("name", ["module.{}", "_orig_mod.{}", "_orig_mod.module.{}"])
def test_names_that_begin_with_a_wrapper_are_read_without_it(classifier, name, caplog):
    wanted = load_fine_tuned(str(classifier))[0].state_dict()

    def wrap(weights):
        for key in list(weights):
            weights[name.format(key)] = weights.pop(key)

    change_weights(classifier, wrap)
    with caplog.at_level("INFO", logger="innerdistill"):
        model, _ = load_fine_tuned(str(classifier))
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in model.state_dict().items())
    assert "the names of its weights begin with module. or _orig_mod." in caplog.text


def test_an_inner_module_that_was_compiled_is_read_without_its_wrapper(classifier):
    wanted = load_fine_tuned(str(classifier))[0].state_dict()

    def wrap(weights):
        for key in [key for key in weights if key.startswith("bert.encoder.")]:
            weights[key.replace("layer.1.", "layer.1._orig_mod.")] = weights.pop(key)

    change_weights(classifier, wrap)
    model, _ = load_fine_tuned(str(classifier))
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in model.state_dict().items())


def test_a_pooler_and_a_language_model_head_are_reported_in_one_line(make_model, tmp_path, caplog):
    make_model("roberta", layers=2).save_pretrained(tmp_path)
    for name in ("roberta.pooler.dense.weight", "lm_head.bias", "lm_head.dense.weight"):
        add_weight(tmp_path, name)
    with caplog.at_level("INFO", logger="innerdistill"):
        load_fine_tuned(str(tmp_path))
        load_base(str(tmp_path), HEAD, names=("a", "b"))
    line = f"{tmp_path}: not needed and not used of its files: lm_head, pooler"
    assert list_messages(caplog) == [line]


def list_messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("innerdistill.")]


def test_weights_in_several_files_are_read(make_model, tmp_path):
    model = make_model(layers=2)
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    loaded = load_fine_tuned(str(tmp_path))[0].state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in model.state_dict().items())


def test_a_base_model_needs_all_weights_of_its_encoder_but_no_head_and_no_pooler(classifier, caplog):
    def drop_head_and_pooler(weights):
        for name in [name for name in weights if name.startswith(("classifier.", "bert.pooler."))]:
            del weights[name]

    change_weights(classifier, drop_head_and_pooler)
    with caplog.at_level("INFO", logger="innerdistill"):
        assert load_base(str(classifier), HEAD, names=("a", "b", "c")).config.num_labels == 3
    assert list_messages(caplog) == [f"{classifier}: not in its files and therefore new: pooler"]
    change_weights(classifier, lambda weights: weights.pop("bert.embeddings.word_embeddings.weight"))
    with pytest.raises(ValueError, match="do not hold all weights that its config.json asks for .1 are missing"):
        load_base(str(classifier), HEAD, names=("a", "b"))


@pytest.mark.parametrize("layers", [1, 3])
def test_a_base_model_has_as_many_layers_as_its_config_says(base_folder, tmp_path, layers):
    folder = shutil.copytree(base_folder, tmp_path / "base")
    change_config(folder, num_hidden_layers=layers)
    with pytest.raises(ValueError, match=f"hold 4 layers, config.json says {layers}"):
        load_base(str(folder), HEAD, names=("a", "b"))


def test_a_base_model_may_have_any_head_and_any_labels(classifier):
    add_weight(classifier, "qa_outputs.weight")
    change_config(classifier, id2label={"1": "a", "2": None})
    assert load_base(str(classifier), HEAD, names=("a", "b")).config.id2label == {0: "a", 1: "b"}


def test_a_token_without_an_embedding_is_refused_by_every_command(classifier, data_folder, recipe, tokenizer):
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens([f"new{number}" for number in range(100)])
    larger.save_pretrained(classifier)
    _, *others = list_commands(classifier, data_folder, recipe)
    sentence = f"its tokenizer gives the token id {len(larger) - 1} ('new99'), but the model has only 128 tokens"
    check_refusals([list_commands(classifier, data_folder, recipe)[0], *others[2:]], sentence)


def test_a_second_token_type_is_refused_where_the_model_has_one(make_model, tokenizer, tmp_path):
    model = make_model("roberta", layers=2, type_vocab_size=1)
    tokenizer.save_pretrained(tmp_path)
    load_tokenizer(str(tmp_path), model, texts=1)  # a single text has the first type only
    load_tokenizer(str(tmp_path), make_model("distilbert", layers=2), texts=2)  # which reads no types
    with pytest.raises(ValueError, match=r"gives a text the token type 1, but the model has only 1 .type_vocab_size"):
        load_tokenizer(str(tmp_path), model, texts=2)


def test_positions_are_counted_from_the_padding_id(make_model, tokenizer, tmp_path, data_folder):
    make_model("roberta", layers=2, pad_token_id=3, type_vocab_size=2).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "long.csv").write_text("text\n" + "good0 " * 200 + "\n")
    model, _ = load_fine_tuned(str(tmp_path / "model"))
    assert longest_input(tokenizer, model, None) == 62
    assert predict_file(tmp_path / "model", tmp_path / "long.csv", text=["text"]).num_rows == 1
    with pytest.raises(
        ValueError, match=r"the teacher's number of positions \(pad_token_id\) is 64, the student's 62; both"
    ):
        check_same_inputs(model, make_model("roberta"), what="student.source")


def test_positions_without_a_padding_id_are_refused(make_model, tmp_path):
    make_model("roberta", layers=2).save_pretrained(tmp_path)
    change_config(tmp_path, pad_token_id=None)
    with pytest.raises(ValueError, match="pad_token_id in its config.json is None, but its positions are counted from"):
        load_fine_tuned(str(tmp_path))


def test_a_tokenizer_without_words_or_padding_is_refused(classifier, tokenizer, tmp_path):
    model, _ = load_fine_tuned(str(classifier))
    for file in classifier.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match="its tokenizer knows no words|no tokenizer could be loaded"):
        load_tokenizer(str(classifier), model, texts=1)
    padding, tokenizer.pad_token = tokenizer.pad_token, None
    tokenizer.save_pretrained(tmp_path / "padless")
    tokenizer.pad_token = padding
    shutil.copy(classifier / "config.json", tmp_path / "padless")
    with pytest.raises(ValueError, match="the tokenizer has no padding token"):
        load_tokenizer(str(tmp_path / "padless"), model, texts=1)


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
    cosine, wide = ["cls_cosine"], make_model(hidden_size=48)
    check_source(make_model(seed=1), teacher, architecture, activation_losses=cosine, copies_head=True)
    check_source(wide, teacher, architecture, activation_losses=[], copies_head=False)
    with pytest.raises(ValueError, match="the teacher's hidden_size is 32, the student's 48, and cls_cosine compares"):
        check_source(wide, teacher, architecture, activation_losses=cosine, copies_head=False)
    with pytest.raises(
        ValueError, match="hidden_size is 32, the student's 48, and student.head=teacher copies the head"
    ):
        check_source(wide, teacher, architecture, activation_losses=[], copies_head=True)
    with pytest.raises(ValueError, match="num_heads is 4, the student's 2, and attention is compared head by head"):
        check_source(make_model(num_attention_heads=2), teacher, architecture, activation_losses=[], copies_head=False)


def test_a_window_under_a_whole_text_is_refused(make_model):
    teacher = make_model("modernbert")  # layers 1 and 4 attend to the whole text
    check_windows({1: 1, 2: 4}, {1: 1, 2: 4}, source=teacher, teacher=teacher)
    with pytest.raises(ValueError, match="teacher layer 4 attends to the whole text, student layer 2 only to a window"):
        check_windows({2: 4}, {1: 1, 2: 2}, source=teacher, teacher=teacher)
    check_windows({2: 4}, {1: 1, 2: 2}, source=make_model(), teacher=make_model())
