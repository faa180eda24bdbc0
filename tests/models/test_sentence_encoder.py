"""SentenceEncoder: the same embeddings as sentence-transformers, from its files and into them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_models import encode, make_modules, rewrite_json, write_sentence_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling
from torch.nn import Identity
from transformers import AutoModel, AutoTokenizer

from innerdistill.models.capture import capture, reads_first_token
from innerdistill.models.families import FAMILIES
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.heads import (
    Head,
    configure_embedding_head,
    has_class_head,
    has_embedding_head,
    has_label_set_head,
    has_score_head,
    name_embedding,
)
from innerdistill.models.pretrained import load_base, load_classifier, load_tokenizer, longest_input, read_config
from innerdistill.models.probe import probe
from innerdistill.models.sentence_encoder import SentenceEncoder, read_prompt, save_sentence_encoder, take_apart
from innerdistill.models.student import build_student
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION

HEAD = Head(
    auto_class=SentenceEncoder,
    configure=configure_embedding_head,
    fits=has_embedding_head,
    name_outputs=name_embedding,
    reads="all tokens",
    save=save_sentence_encoder,
)
QUICK = ("bert", "mpnet", "modernbert")
SLOW = [pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES if family not in QUICK]
MODES = Pooling.POOLING_MODES


@pytest.fixture
def texts(sentences):
    return [text for text, _ in sentences[:20]]


@pytest.fixture
def write(make_model, tokenizer, tmp_path):
    """Write a tiny sentence encoder into a folder."""

    def write(name="model", *, family="bert", modules=None, layers=4, **options):
        encoder = make_model(family, layers=layers).base_model
        return tmp_path / name, write_sentence_model(
            tmp_path / name, encoder, tokenizer, *(modules or make_modules()), **options
        )

    return write


def compute(model, tokenizer, texts, *, length):
    """Embeddings of some texts, tokenised as a run does."""
    encoded = tokenizer(
        [read_prompt(tokenizer) + text for text in texts],
        truncation=True, max_length=length, padding=True, return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        return capture(model, encoded, layers={}).logits.numpy()


def load(folder):
    model = load_classifier(str(folder), HEAD)
    tokenizer = load_tokenizer(str(folder), model, texts=1)
    return model, tokenizer, longest_input(tokenizer, model, None)


def save(model, tokenizer, folder, *, length):
    folder.mkdir()
    save_sentence_encoder(model, folder, max_length=length)
    tokenizer.model_max_length = length
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", [*QUICK, *SLOW])
def test_every_family_gives_the_embeddings_of_the_library_before_and_after_saving(write, texts, tmp_path, family):
    folder, library = write(family=family, modules=make_modules(dense=8))
    wanted = library.encode(texts)
    model, tokenizer, length = load(folder)
    assert np.abs(compute(model, tokenizer, texts, length=length) - wanted).max() < 1e-6
    assert probe(model).num_layers == 4 and model not in reads_first_token
    assert np.abs(compute(model, tokenizer, texts, length=length) - wanted).max() < 1e-5  # by our own attention
    saved = save(model, tokenizer, tmp_path / "saved", length=length)
    assert np.abs(encode(saved, texts) - wanted).max() < 1e-6
    assert isinstance(AutoModel.from_pretrained(saved), type(AutoModel.from_pretrained(folder)))
    assert weights_fingerprint(load(saved)[0]) == weights_fingerprint(model)


@pytest.mark.parametrize("mode", [*MODES, ["cls", "max"], ["mean", "lasttoken"]], ids=str)
@pytest.mark.parametrize("dense", [None, 8])
def test_every_pooling_mode_gives_the_embeddings_of_the_library(write, texts, tmp_path, mode, dense):
    folder, library = write(modules=make_modules(mode, dense=dense, normalize=dense is None))
    model, tokenizer, length = load(folder)
    probe(model)
    assert (model in reads_first_token) == (mode == "cls")
    wanted = library.encode(texts)
    found = compute(model, tokenizer, texts, length=length)
    assert model.config.num_labels == wanted.shape[1] == found.shape[1] and np.abs(found - wanted).max() < 1e-5
    saved = save(model, tokenizer, tmp_path / "saved", length=length)
    assert np.abs(encode(saved, texts) - wanted).max() < 1e-6
    assert (saved / "1_Pooling/config.json").read_text().split() == (folder / "1_Pooling/config.json").read_text().split()  # fmt: skip


@pytest.mark.parametrize(
    "dense",
    [
        Dense(32, 8, bias=False, activation_function=Identity()),
        Dense(32, 32, use_residual=True),
        Dense(32, 16, module_input_name="token_embeddings"),
    ],
)
def test_dense_layers_of_all_kinds(write, texts, dense):
    of_tokens = dense.module_input_name == "token_embeddings"
    folder, library = write(modules=[dense, Pooling(16)] if of_tokens else [Pooling(32), dense, Normalize()])
    model, tokenizer, length = load(folder)
    assert np.abs(compute(model, tokenizer, texts, length=length) - library.encode(texts)).max() < 1e-6


def test_prompt_length_similarity_and_dimensions_are_kept(write, texts, tmp_path):
    options = {"prompts": {"query": "good1 ", "document": ""}, "default_prompt_name": "query"}
    folder, library = write(max_seq_length=9, similarity_fn_name="dot", truncate_dim=10, **options)
    rewrite_json(folder / "config_sentence_transformers.json", own_key="stays")
    model, tokenizer, length = load(folder)
    assert (read_prompt(tokenizer), length, model.config.num_labels) == ("good1 ", 9, 10)
    wanted = library.encode(texts)
    assert wanted.shape == (20, 10)
    assert np.abs(compute(model, tokenizer, texts, length=length) - wanted).max() < 1e-6
    saved = save(model, tokenizer, tmp_path / "saved", length=9)
    loaded = SentenceTransformer(str(saved), device="cpu")
    assert (loaded.prompts, loaded.default_prompt_name) == (library.prompts, "query")
    assert (loaded.max_seq_length, loaded.similarity_fn_name, loaded.truncate_dim) == (9, "dot", 10)
    assert np.abs(loaded.encode(texts) - wanted).max() < 1e-6
    assert json.loads((saved / "config_sentence_transformers.json").read_text())["own_key"] == "stays"


def test_a_folder_of_an_earlier_version_of_the_library_is_read_and_written_as_it_is(write, texts, tmp_path):
    folder, library = write()
    package = "sentence_transformers.models"
    entries = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    listed = [{"idx": n, "name": name, "path": path, "type": f"{package}.{kind}"} for n, (name, path, kind) in enumerate(entries)]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(listed))
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
               "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}  # fmt: skip
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12, "do_lower_case": True}))
    (folder / "config_sentence_transformers.json").unlink()
    shutil.rmtree(folder / "2_Normalize")
    upper = [text.upper() for text in texts]
    library.max_seq_length = 12
    wanted = library.encode(texts)
    assert np.abs(encode(folder, upper) - wanted).max() < 1e-6
    model, tokenizer, length = load(folder)
    assert length == 12
    assert np.abs(compute(model, tokenizer, upper, length=length) - wanted).max() < 1e-6
    saved = save(model, tokenizer, tmp_path / "saved", length=12)
    assert json.loads((saved / "1_Pooling/config.json").read_text()) == pooling
    assert json.loads((saved / "modules.json").read_text()) == listed
    assert np.abs(encode(saved, upper) - wanted).max() < 1e-6
    tokenizer = load(saved)[1]
    assert str(tokenizer.backend_tokenizer.normalizer).count("Lowercase") == 1


def test_a_plain_encoder_needs_pooling(make_model, tokenizer, texts, tmp_path):
    make_model().base_model.save_pretrained(tmp_path / "plain")
    tokenizer.save_pretrained(tmp_path / "plain")
    with pytest.raises(
        ValueError, match=r"plain: it has no modules.json, .* teacher.pooling says it, for example mean"
    ):
        load(tmp_path / "plain")
    with pytest.raises(ValueError, match="teacher.pooling: unknown mode 'avg'; expected one of cls, max, mean,"):
        load_classifier(str(tmp_path / "plain"), HEAD, pooling="avg")
    model = load_classifier(str(tmp_path / "plain"), HEAD, pooling="mean")
    tokenizer = load_tokenizer(str(tmp_path / "plain"), model, texts=1)
    wanted = encode(tmp_path / "plain", texts)  # the library pools a plain encoder by the mean
    assert np.abs(compute(model, tokenizer, texts, length=64) - wanted).max() < 1e-6
    saved = save(model, tokenizer, tmp_path / "saved", length=64)
    assert np.abs(encode(saved, texts) - wanted).max() < 1e-6
    with pytest.raises(ValueError, match="saved: its modules.json says how it pools; leave teacher.pooling out"):
        load_classifier(str(saved), HEAD, pooling="mean")


def test_an_object_in_memory_is_taken_apart(write, texts):
    folder, library = write(modules=make_modules(dense=8))
    before = {name: value.clone() for name, value in library.state_dict().items()}
    model = take_apart(library)
    assert all(torch.equal(value, before[name]) for name, value in library.state_dict().items())
    copied = load_classifier(model, HEAD)
    assert weights_fingerprint(copied) == weights_fingerprint(model) == weights_fingerprint(load(folder)[0])
    shared = {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in library.parameters()}
    assert not shared


@pytest.mark.parametrize("family", [*QUICK, *SLOW])
@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_internals_of_all_layers_and_early_exit(write, batch, family, mode):
    folder, _ = write(family=family, modules=make_modules(mode, dense=8))
    model = load(folder)[0]
    probe(model)
    kinds, real = ("attention", "cls", "hidden", "qkv"), batch["attention_mask"].bool()
    whole = capture(model, batch, layers={**dict.fromkeys((1, 2, 3, 4), kinds), 0: ("cls", "hidden")})
    assert whole.logits.shape == (2, 8)
    for top in (1, 2, 4):
        for kind in ("cls", "hidden"):
            parts = capture(model, batch, layers={top: (kind,)}, logits=False)
            assert parts.logits is None
            found, wanted = getattr(parts.layers[top], kind), getattr(whole.layers[top], kind)
            if kind == "hidden":
                found, wanted = found[real], wanted[real]
            assert torch.allclose(found, wanted, atol=1e-5)
    model.train()
    loss = capture(model, batch, layers={}).logits[:, 0].sum()
    loss.backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert all("pooler." in name or "contact_head." in name for name in without)  # which no embedding reads
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    assert model.further[1].linear.weight.grad.abs().sum() > 0


def test_a_student_keeps_the_modules_whatever_the_seed(write, texts):
    folder, _ = write(modules=make_modules(dense=8))
    teacher, tokenizer, length = load(folder)
    first, second = (build_student(teacher, 2, seed=seed) for seed in (1, 2))
    assert weights_fingerprint(first) == weights_fingerprint(second)
    assert torch.equal(first.further[1].linear.weight, teacher.further[1].linear.weight)
    assert weights_fingerprint(build_student(teacher, 2, head=teacher)) == weights_fingerprint(first)
    assert probe(first).num_layers == 2 and first.config.num_labels == 8
    shared = {p.data_ptr() for p in first.parameters()} & {p.data_ptr() for p in teacher.parameters()}
    assert not shared and first.config.sentence_encoder is not teacher.config.sentence_encoder
    whole = build_student(teacher, 4)
    assert np.array_equal(compute(whole, tokenizer, texts, length=length), compute(teacher, tokenizer, texts, length=length))  # fmt: skip
    random = [weights_fingerprint(build_student(teacher, 2, random=True, seed=seed)) for seed in (1, 1, 2)]
    assert random[0] == random[1] != random[2]


def test_another_encoder_gets_the_modules_of_the_teacher(write, make_model, tokenizer, tmp_path):
    teacher = load(write(modules=make_modules(dense=8))[0])[0]
    make_model(seed=5).base_model.save_pretrained(tmp_path / "plain")
    other, _ = write("other", modules=make_modules("cls", normalize=False))
    for name in (tmp_path / "plain", other):
        source = load_base(str(name), HEAD, names=None, like=teacher)
        assert torch.equal(source.further[1].linear.weight, teacher.further[1].linear.weight)
        assert source.config.num_labels == 8
        assert source.further[0].pooling_mode == "mean"
    make_model(hidden_size=16, intermediate_size=32).base_model.save_pretrained(tmp_path / "narrow")
    with pytest.raises(ValueError, match=r"narrow: 1_Pooling/config.json says .* 32 numbers .* gives 16"):
        load_base(str(tmp_path / "narrow"), HEAD, names=None, like=teacher)


def test_a_pooler_that_the_files_lack_is_left_out(write, texts, make_model):
    folder, library = write()
    weights = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "pooler" not in name}, folder / "model.safetensors")
    model, tokenizer, length = load(folder)
    assert model.encoder.pooler is None and build_student(model, 2).encoder.pooler is None
    assert np.abs(compute(model, tokenizer, texts, length=length) - library.encode(texts)).max() < 1e-6
    assert weights_fingerprint(load(folder)[0]) == weights_fingerprint(model)


def test_it_is_no_classifier_but_a_base_of_one(write, make_model, tokenizer, tmp_path):
    folder, _ = write()
    config = read_config(str(folder))
    assert HEAD.fits(config)
    assert not any(fits(config) for fits in (has_class_head, has_score_head, has_label_set_head))
    base = load_base(str(folder), SINGLE_LABEL_CLASSIFICATION.head, names=("a", "b"))
    assert base.config.num_labels == 2 and not hasattr(base.config, "sentence_encoder")
    base.save_pretrained(tmp_path / "classifier")
    assert not HEAD.fits(read_config(str(tmp_path / "classifier")))
    shutil.copy(folder / "modules.json", tmp_path / "classifier")  # as a CrossEncoder has one
    assert has_class_head(read_config(str(tmp_path / "classifier")))


def remove(*names):
    def change(folder):
        for name in names:
            (folder / name).unlink()

    return change


def replace_type(index, name):
    def change(folder):
        entries = json.loads((folder / "modules.json").read_text())
        entries[index]["type"] = name
        (folder / "modules.json").write_text(json.dumps(entries))

    return change


def change_json(name, **changes):
    return lambda folder: rewrite_json(folder / name, **changes)


def write_text(name, text):
    return lambda folder: (folder / name).write_text(text)


DENSE, POOLING, SETTINGS = "2_Dense/config.json", "1_Pooling/config.json", "config_sentence_transformers.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_type(2, "sentence_transformers.models.CNN"), "modules.json names the module 'sentence_tran.*CNN', which is not supported; after the Transformer only Pooling, Dense, Normalize are"),
        (replace_type(2, "their.code.Dense"), "modules.json names the module 'their.code.Dense', which is not supported"),
        (replace_type(0, "sentence_transformers.models.WordEmbeddings"), "the first module of modules.json is '.*WordEmbeddings', which is not"),
        (write_text("modules.json", "[{}"), "modules.json: cannot be read as JSON"),
        (write_text("modules.json", "[]"), "modules.json: expected a list of modules"),
        (write_text("modules.json", '[{"name": "0", "type": "x"}]'), "expected modules with name, path and type"),
        (write_text("modules.json", '[{"name": "0", "path": "../x", "type": "x"}]'), "expected a module in a folder of the model"),
        (write_text("modules.json", '[{"name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]'), "its Transformer lies in the folder '0_Transformer'; write the model again"),
        (remove(POOLING), "1_Pooling/config.json is missing; copy the whole model again"),
        (change_json(POOLING, own_key=1), "1_Pooling/config.json cannot be used .*own_key"),
        (change_json(POOLING, pooling_mode="avg"), "1_Pooling/config.json cannot be used .*Invalid pooling mode: 'avg'"),
        (change_json(POOLING, embedding_dimension=64), r"1_Pooling/config.json says that it reads 64 numbers \(embedding_dimension\), but what comes before it gives 32"),
        (change_json(DENSE, in_features=16), r"2_Dense/config.json says that it reads 16 numbers \(in_features\), but what comes before it gives 32"),
        (change_json(DENSE, out_features=9), r"2_Dense/model.safetensors holds linear.* as \[8.*\], but its config.json asks for \[9"),
        (change_json(DENSE, activation_function="os.system"), "2_Dense/config.json names the activation function 'os.system', which is not supported"),
        (change_json(DENSE, activation_function="torch.load"), "names the activation function 'torch.load', which is not supported"),
        (change_json(DENSE, module_input_name="other"), "2_Dense/config.json reads other, which no module before it gives"),
        (remove("2_Dense/model.safetensors"), "2_Dense/model.safetensors is missing; only safetensors are read"),
        (change_json(SETTINGS, model_type="SparseEncoder"), "it is a SparseEncoder; expected a SentenceTransformer"),
        (change_json(SETTINGS, default_prompt_name="passage"), "names the default prompt 'passage', but has the prompts"),
        (change_json(SETTINGS, truncate_dim="all"), "truncate_dim in its config_sentence_transformers.json is 'all'"),
        (change_json("sentence_bert_config.json", processing_kwargs={"text": {"padding": False}}), "processing_kwargs in its sentence_bert_config.json is .*; this is not supported"),
        (change_json("sentence_bert_config.json", transformer_task="fill-mask"), "transformer_task .* is 'fill-mask'; this is not"),
        (change_json("sentence_bert_config.json", modality_config={"message": {}}), "modality_config in its"),
        (change_json("sentence_bert_config.json", tokenizer_args={"use_fast": False}), "tokenizer_args in its"),
        (change_json("sentence_bert_config.json", max_seq_length="long"), "max_seq_length in its sentence_bert_config.json is 'long'"),
        (remove("model.safetensors"), "the model cannot be loaded"),
    ],
)  # fmt: skip
def test_what_is_broken_or_not_supported_is_refused_by_name(write, change, message):
    folder, _ = write(modules=make_modules(dense=8))
    change(folder)
    with pytest.raises(ValueError, match=message) as error:
        load(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_a_module_of_the_library_that_is_not_supported_is_refused(write):
    folder, _ = write(modules=[Pooling(32), LayerNorm(32)])
    with pytest.raises(ValueError, match=r"the module 'sentence_transformers.*layer_norm.LayerNorm', which is not"):
        load(folder)


def test_a_prompt_that_pooling_leaves_out_is_refused(write, texts):
    pooling = [Pooling(32, include_prompt=False)]
    prompts = {"prompts": {"query": "good1 "}}
    folder, _ = write(modules=pooling, default_prompt_name="query", **prompts)
    with pytest.raises(
        ValueError, match=r"its default prompt is 'good1 ', and its pooling leaves out .* not supported"
    ):
        load(folder)
    folder, library = write("other", modules=pooling, **prompts)  # no prompt by default
    model, tokenizer, length = load(folder)
    assert np.abs(compute(model, tokenizer, texts, length=length) - library.encode(texts)).max() < 1e-6


def test_without_the_extra_one_sentence_names_it(write, monkeypatch):
    folder, _ = write()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError) as error:
        load(folder)
    assert str(error.value) == (
        "`data.problem_type: sentence_similarity` needs the package sentence_transformers: "
        "pip install 'innerdistill[sentence-transformers]'."
    )
    assert load_base(str(folder), SINGLE_LABEL_CLASSIFICATION.head, names=("a", "b"))


def test_the_library_is_imported_for_sentence_encoders_only():
    code = "import innerdistill, sys; innerdistill.distill; assert 'sentence_transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_configuration_of_the_encoder_is_that_of_a_plain_one(write, tmp_path):
    model, _, length = load(write()[0])
    assert model.config.num_labels == 32 and model.encoder.config.num_labels == 2
    student = build_student(model, 2)
    saved = save(student, AutoTokenizer.from_pretrained(write("again")[0]), tmp_path / "saved", length=length)
    config = json.loads((saved / "config.json").read_text())
    assert not config.keys() & {"id2label", "label2id", "sentence_encoder", "problem_type"}
    assert config["num_hidden_layers"] == 2 and config["architectures"] == ["BertModel"]
