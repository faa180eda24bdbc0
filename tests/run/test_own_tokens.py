"""Teachers that read their own tokens: another family, size or tokenizer, down to decoders without a padding token."""

import shutil

import numpy as np
import pytest
import torch
from conftest import BAD, GOOD, PLAIN, tiny_model
from datasets import Dataset
from safetensors.numpy import load_file
from scipy.special import softmax
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    pipeline,
)

from innerdistill import distill, load_recipe
from innerdistill.cli.main import main
from innerdistill.data.splits import list_text_columns
from innerdistill.models.pretrained import load_tokenizer, longest_input
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.run_folder import read_predictions, read_record
from innerdistill.run.assemble import assemble
from innerdistill.run.predict import predict_file
from innerdistill.run.preview import describe_run
from innerdistill.run.teacher_cache import load_targets
from innerdistill.training.target_store import LOGITS

WEIGHTS = "model/model.safetensors"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OTHER_WORDS = [*SPECIAL, "more", "words", *reversed(GOOD + BAD + PLAIN)]  # the same words have other numbers here
SIZES = {"vocab_size": len(OTHER_WORDS), "hidden_size": 48, "intermediate_size": 96, "max_position_embeddings": 40}
DECODER = {"num_key_value_heads": 2, "head_dim": 12, "pad_token_id": None, "bos_token_id": None, "eos_token_id": 3}
BART = {
    "vocab_size": len(OTHER_WORDS), "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "bos_token_id": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    "eos_token_id": 3, "decoder_start_token_id": 3, "forced_eos_token_id": None,
}  # fmt: skip
TEACHERS = {  # options of tiny models, which differ from the student in one thing or in all
    "bert": {"vocab_size": len(OTHER_WORDS), "type_vocab_size": 2},  # another vocabulary
    "albert": {**SIZES, "embedding_size": 16},  # shares its layers
    "qwen3": {**SIZES, **DECODER},  # a decoder that pads with its end token, and reads the last token
    "gemma2": {**SIZES, **DECODER},
    "gpt2": {"vocab_size": len(OTHER_WORDS), "n_embd": 32, "n_head": 4, "n_layer": 2, "pad_token_id": None},
    "bart": BART,  # encoder and decoder
}
QUICK = ("bert", "albert", "qwen3")
DECODERS = ("qwen3", "gemma2", "gpt2")


def make_tokenizer(words, *, for_decoder=False, **options):
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    if not for_decoder:
        pair, special = "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
        core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=special)
    names = {"unk_token": "[UNK]", "eos_token": "[SEP]", **({} if for_decoder else {"pad_token": "[PAD]"})}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=40, **names, **options)


@pytest.fixture(scope="session")
def other_base(fill_once):
    """A function that makes a pre-trained model which reads its own tokens."""

    def make(family, **options):
        def fill(folder):
            tiny_model(family, layers=2, seed=1, **TEACHERS[family]).base_model.save_pretrained(folder)
            make_tokenizer(OTHER_WORDS, for_decoder=family in DECODERS, **options).save_pretrained(folder)

        return fill_once(f"other-{family}", fill)

    return make


@pytest.fixture
def content(recipe, base_folder, other_base, tmp_path):
    """A recipe with such a teacher as a mapping."""

    def make(family="qwen3", name="run", **sections):
        teacher = {"base": str(other_base(family)), "epochs": 6, **sections.pop("teacher", {})}
        student = {"source": str(base_folder), **sections.pop("student", {})}
        schedule = {"name": "soft_labels", "classification_epochs": 4, **sections.pop("schedule", {})}
        return recipe(tmp_path / name, teacher=teacher, student=student, schedule=schedule, **sections)

    return make


def compute_outputs(folder, texts):
    """Logits by transformers alone, one text or pair at a time, so without padding."""
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    inputs = (tokenizer(*([text] if isinstance(text, str) else text), return_tensors="pt") for text in texts)
    with torch.no_grad():
        return np.concatenate([model.eval()(**each).logits.numpy() for each in inputs])


@pytest.mark.parametrize(
    "family", [*QUICK, *(pytest.param(each, marks=pytest.mark.slow) for each in DECODERS[1:]), "bart"]
)
def test_a_student_learns_the_outputs_of_its_teacher(content, data_folder, tokenizer, family):
    run = distill(content(family))
    record, scores = run.record, run.scores["validation"]
    assert scores["teacher"]["accuracy"] > scores["teacher"]["constant"] + 0.2
    assert scores["student"]["accuracy"] > scores["student"]["constant"] + 0.2
    assert record.teacher.path and not record.teacher.is_given and record.teacher.targets.cached.keys() == {"logits"}
    assert record.student.layers == 4 and record.layer_map == {} and record.distances is None
    assert run.tokenizer.get_vocab() == tokenizer.get_vocab()  # the student's own

    columns = read_predictions(run / "predictions.parquet", "validation")
    texts = [line.partition(",")[0] for line in (data_folder / "validation.csv").read_text().splitlines()[1:]]
    for model, folder in (("teacher", record.teacher.path), ("student", run / "model")):
        wanted = compute_outputs(folder, [texts[row - 1] for row in columns["row"]])
        np.testing.assert_allclose(columns[model], wanted, rtol=1e-4, atol=1e-5)


def test_what_training_reads_are_the_outputs_for_the_same_texts(content, data_folder, tmp_path):
    """Also of texts that only the student learns from, which follow those of train."""
    made = content(data={"unlabelled": str(data_folder / "unlabelled.csv")})
    teacher = distill({**made, "output": str(tmp_path / "first")}).record.teacher.path
    job = assemble(load_recipe({**made, "teacher": {"path": teacher, "folder": str(tmp_path)}}))
    targets = load_targets(job, tmp_path / "run")
    (column,) = list_text_columns(job.data.splits["train"])
    texts = [text for split in ("train", "unlabelled") for text in job.data.splits[split][column].to_pylist()]
    assert len(texts) == len(targets.store.arrays[LOGITS]) == len(job.select_student_examples()) > 100
    np.testing.assert_allclose(targets.store.arrays[LOGITS], compute_outputs(teacher, texts), rtol=1e-4, atol=1e-5)


def test_a_run_resumes_to_the_same_bytes(content, kill_after):
    whole = distill(content(name="whole"))
    with kill_after(30):
        distill(content(checkpoint_minutes=0))
    resumed = distill(content(checkpoint_minutes=0))
    first, second = (load_file(run / WEIGHTS) for run in (whole, resumed))
    assert all((first[name] == second[name]).all() for name in first)


def test_every_command(content, tmp_path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text(write_yaml(content(onnx=True)))
    assert " into a student from " in describe_run(load_recipe(file))
    assert main(["plan", str(file)]) == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert "Teacher: 2 layers" in plan and "Student: 4 layers" in plan and "scoring both models" in plan
    assert "teacher outputs" in plan and "fine-tuning the teacher" in plan
    assert main(["distill", str(file)]) == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert "The tokenizer has no padding token; its end token [SEP] pads instead." in shown
    assert "Each reads tokens of its own, and the student learns from the teacher's outputs alone." in shown
    page = (tmp_path / "run" / "report.html").read_text()
    assert "2-layer teacher" in page and "Attention explorer" not in page and " older " not in page
    assert "The teacher has a tokenizer of its own" in page
    assert main(["plan", str(file), "overwrite=true"]) == 0
    assert "cached" in capsys.readouterr().out
    assert main(["evaluate", str(file)]) == 0
    score = read_record(tmp_path / "run").scores["validation"]
    evaluated = capsys.readouterr().out
    assert f"{score.student.primary:.4f}" in evaluated and f"{score.teacher.primary:.4f}" in evaluated
    assert main(["speed", str(tmp_path / "run")]) == 0
    assert "teacher of run" in capsys.readouterr().out
    assert main(["finetune", str(file), f"output={tmp_path / 'teacher'}"]) == 0
    assert AutoTokenizer.from_pretrained(tmp_path / "teacher" / "model").get_vocab().keys() == set(OTHER_WORDS)


def test_a_student_whose_layers_are_not_read(content, other_base, data_folder, tmp_path, capsys):
    """ALBERT shares its layers: all of them go into the student."""
    albert = str(other_base("albert"))
    made = content("bert", student={"source": albert}, onnx=True)
    run = distill(made)
    assert run.model.config.model_type == "albert" and run.record.student.layers == 2
    assert run.scores["validation"]["student"]["accuracy"] > 0.75
    assert run.record.onnx.files["float32"].largest_difference is None or run.record.onnx.files["float32"].scores
    texts = ["good1 plain2 bad3", "bad1"]
    classify = pipeline("text-classification", str(run / "model"), top_k=None)
    for own, theirs in zip(run.predict(texts), classify(texts), strict=True):
        assert own["predicted_label"] == theirs[0]["label"]
        assert own[f"probability_{theirs[0]['label']}"] == pytest.approx(theirs[0]["score"], abs=1e-5)
    with pytest.raises(
        ValueError, match=r"^student.num_layers: .*'albert' has all layers of its source, since all its"
    ):
        distill({**made, "student": {"source": albert, "num_layers": 1}, "output": str(tmp_path / "other")})


def test_texts_without_labels(content, data_folder, tmp_path):
    teacher = distill(content()).record.teacher.path
    texts = str(data_folder / "unlabelled.csv")
    made = content(name="unlabelled", data={"train": texts, "validation": texts, "drop_overlap": False})
    made["teacher"] = {"path": teacher, "folder": str(tmp_path)}
    record = distill(made).record
    assert record.data.against_teacher and record.scores["validation"].teacher.primary == 1


def test_scores_and_sets_of_labels(content, data_folder, tmp_path):
    """Regression, and thresholds that are chosen for the teacher by its own outputs."""
    scores = {"train": f"{data_folder}/scores.csv", "validation": f"{data_folder}/scores_validation.csv"}
    run = distill(content(name="scores", data={**scores, "label": "score", "metric": "pearson"}))
    assert run.scores["validation"]["student"]["pearson"] > 0.5
    rows = [
        {"text": row["text"], "good": int("good" in row["text"]), "bad": int("bad" in row["text"])}
        for row in Dataset.from_csv(f"{data_folder}/scores.csv")
    ]
    made = content(name="sets", data={"train": None, "validation": None, "label": ["good", "bad"]})
    made["data"] = {name: value for name, value in made["data"].items() if value is not None}
    run = distill(made, train=rows[:400], validation=rows[400:])
    assert run.record.teacher.thresholds is not None and len(run.record.student.thresholds) == 2
    assert run.scores["validation"]["student"]["macro_f1"] > 0.8


FAULTS = {
    "no source": (
        {"student": {"source": "teacher"}},
        r"^teacher.base: layers of the family 'qwen3' are not supported \(it is a decoder, whose tokens attend to "
        r"earlier ones only\), so a student cannot copy them; name its own checkpoint",
    ),
    "compares layers": (
        {"schedule": {"name": "sid"}},
        r"^teacher.base: layers of .*, and schedule.name=sid compares them. Its outputs can be learned: set "
        "schedule.name=soft_labels",
    ),
    "head": ({"student": {"head": "teacher"}}, "^student.head: the teacher's head does not fit. The teacher is of"),
    "live": ({"teacher": {"targets": "live"}}, "^teacher.targets: 'live' means that the teacher runs in every step"),
    "too long": ({"data": {"max_length": 50}}, "^data.max_length: 50 tokens were asked for, but the model allows 40"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_work_is_refused(content, tmp_path, fault):
    sections, sentence = FAULTS[fault]
    with pytest.raises(ValueError, match=sentence):
        distill(content(**sections))
    assert not (tmp_path / "run").exists()


def test_a_student_object_needs_a_tokenizer(content, make_model):
    with pytest.raises(
        ValueError, match=r"^student.source: The teacher is of the family 'qwen3', .* give a folder or name"
    ):
        distill(content(student={}), student=make_model("bert"))


def test_a_tagger_and_its_teacher_read_the_same_tokens(content, other_base, tmp_path):
    rows = [{"words": [first, second], "tags": ["B-x", "O"]} for first in GOOD for second in PLAIN]
    made = content("bert", data={"train": None, "validation": None, "text": ["words"], "label": "tags"})
    made["data"] = {name: value for name, value in made["data"].items() if value is not None}
    with pytest.raises(
        ValueError, match="^student.source: teacher and student must read the same tokens, since outputs for words"
    ):
        distill(made, train=rows, validation=rows)


def test_a_model_may_pad_on_the_left(data_folder, tmp_path):
    """XLNet reads the last token of a text, so its texts must end where the batch does."""
    sizes = {"vocab_size": len(OTHER_WORDS), "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}
    config = AutoConfig.for_model("xlnet", num_labels=2, pad_token_id=0, initializer_range=0.2, **sizes)
    config.id2label, config.label2id = {0: "neg", 1: "pos"}, {"neg": 0, "pos": 1}
    model = AutoModelForSequenceClassification.from_config(config).eval()
    assert longest_input(make_tokenizer(OTHER_WORDS), model, None) == 40  # the tokenizer's limit: the model has none
    model.save_pretrained(tmp_path)
    make_tokenizer(OTHER_WORDS).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="padding changes the outputs of this model"):
        load_tokenizer(str(tmp_path), model, texts=1)
    make_tokenizer(OTHER_WORDS, padding_side="left").save_pretrained(tmp_path)
    table = predict_file(tmp_path, data_folder / "validation.csv", text=["text"])
    wanted = softmax(compute_outputs(tmp_path, table["text"].to_pylist()), axis=1)
    np.testing.assert_allclose(table["probability_pos"], wanted[:, 1], rtol=1e-4)


def test_a_model_whose_outputs_depend_on_padding_is_refused(other_base, tmp_path):
    shutil.copytree(other_base("gpt2"), tmp_path / "model")
    model = tiny_model("gpt2", layers=2, **TEACHERS["gpt2"])
    make_tokenizer(OTHER_WORDS, for_decoder=True, pad_token="[MASK]").save_pretrained(tmp_path / "model")
    model.config.pad_token_id = 3  # of another token than the one that pads
    with pytest.raises(
        ValueError, match=r"padding changes the outputs .* on the right with \[MASK\] \(id 4\), and pad_token_id"
    ):
        load_tokenizer(str(tmp_path / "model"), model, texts=1)


def test_tokens_that_only_the_teacher_does_not_know_are_said(content, tmp_path, caplog, base_folder):
    folder = tmp_path / "narrow"
    shutil.copytree(content("bert")["teacher"]["base"], folder)
    make_tokenizer([*SPECIAL, *GOOD]).save_pretrained(folder)
    run = distill(content("bert", teacher={"base": str(folder), "epochs": 1}, schedule={"total_steps": 2}))
    assert any("unknown to the teacher's tokenizer" in warning for warning in run.record.warnings)


def test_texts_of_which_only_the_teacher_reads_nothing_are_said(content, tmp_path, base_folder, data_folder):
    """Its tokenizer drops what is not Latin, as some normalisers do; the student has an unknown word there."""
    folder = tmp_path / "narrow"
    shutil.copytree(content("bert")["teacher"]["base"], folder)
    reader = make_tokenizer(OTHER_WORDS)
    reader.backend_tokenizer.normalizer = normalizers.Replace(Regex("[^a-z0-9 ]"), "")
    reader.save_pretrained(folder)
    rows = [{"text": row["text"], "label": row["label"]} for row in Dataset.from_csv(f"{data_folder}/train.csv")]
    rows += [{"text": text, "label": rows[0]["label"]} for text in ("東京", "дом", "")]
    made = content("bert", teacher={"base": str(folder), "epochs": 1}, schedule={"total_steps": 2})
    del made["data"]["train"]
    warnings = distill(made, train=rows, selection=rows[:60]).record.warnings
    assert (
        "The teacher's tokenizer leaves nothing of 2 texts of train, while the student's does: does it drop characters "
        "of this language?"
    ) in warnings
    assert not any("The student's tokenizer leaves" in warning for warning in warnings)


@pytest.mark.parametrize("loss", ["attention_kl", "relation_kl"])
def test_a_narrower_student_learns_the_attention_of_its_teacher(
    recipe, teacher_folder, tokenizer, tmp_path, capsys, loss
):
    """Both read the same tokens and have as many heads, so only activations cannot be compared."""
    tiny_model(layers=3, seed=5, hidden_size=16, intermediate_size=32).base_model.save_pretrained(tmp_path / "narrow")
    tokenizer.save_pretrained(tmp_path / "narrow")
    made = recipe(
        tmp_path / "run",
        teacher={"path": str(teacher_folder), "base": None},
        student={"source": str(tmp_path / "narrow"), "num_layers": 2},
        losses={"attention_kl": 0.0, "cls_cosine": 0.0, loss: 1.0},
    )
    file = tmp_path / "recipe.yaml"
    file.write_text(write_yaml(made))
    assert main(["plan", str(file)]) == 0
    plan = capsys.readouterr().out
    assert "Teacher: hidden size 32, 4 attention heads." in plan and "Student: hidden size 16" in plan
    run = distill(made)
    assert run.model.config.hidden_size == 16 and run.record.layer_map == {1: 2, 2: 4}
    distances = run.record.distances
    assert all(layer.cls_cosine is None for layer in (*distances.before.values(), *distances.after.values()))
    assert distances.after[2].attention_kl < distances.before[2].attention_kl
    assert run.record.teacher.own_tokens is None and len(run.record.teacher.cls_spread) == 4
    page = (run / "report.html").read_text()
    assert "Activations cannot be compared: their sizes differ." in page and "CLS cosine" not in page
    with pytest.raises(ValueError, match="hidden_size is 32, the student's 16, and cls_cosine compares activations"):
        distill({**made, "losses": {"attention_kl": 1.0, "cls_cosine": 1.0}, "output": str(tmp_path / "other")})


@pytest.mark.parametrize("family", ["bert", "qwen3"])
def test_a_ranker_learns_from_one_that_reads_other_tokens(content, family):
    """And orders documents as that does: the documents of a query stay together in both views of the examples."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(200):
        documents = [" ".join([*draw.choice(GOOD + BAD, 2), PLAIN[number % len(PLAIN)]]) for _ in range(3 + number % 2)]
        relevances = [document.count("good") for document in documents]
        rows.append({"query": f"{PLAIN[number % 3]} {number}", "document": documents, "relevance": relevances})
    made = content(
        family, data={"train": None, "validation": None, "text": ["query", "document"], "label": "relevance"}
    )
    made["data"] = {name: value for name, value in made["data"].items() if value is not None}
    made["data"]["problem_type"] = "text_ranking"
    run = distill(made, train=rows[:150], validation=rows[150:])
    scores = run.scores["validation"]
    assert scores["teacher"]["ndcg_at_10"] > scores["teacher"]["constant"] + 0.1
    assert scores["student"]["ndcg_at_10"] > scores["student"]["constant"] + 0.1
    columns = read_predictions(run / "predictions.parquet", "validation")
    for model, folder in (("teacher", run.record.teacher.path), ("student", run / "model")):
        for number, found in zip(columns["row"][:10], columns[model], strict=False):
            row = rows[150 + number - 1]
            pairs = [(row["query"], document) for document in row["document"]]
            np.testing.assert_allclose(found, compute_outputs(folder, pairs), rtol=1e-4, atol=1e-5)
