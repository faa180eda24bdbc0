"""Token classification from end to end: data in every form, scores, files of the run, predictions."""

import json
import re

import numpy as np
import pandas
import pytest
import torch
from conftest import tiny_model
from datasets import ClassLabel, Dataset, Features, List, Value
from piece_tokenizers import make_byte_tokenizer, make_word_piece_tokenizer
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from transformers import AutoModelForTokenClassification, AutoTokenizer, TrainerCallback, pipeline

from innerdistill import Run, distill, evaluate, finetune
from innerdistill.cli.main import main
from innerdistill.report.run_folder import read_predictions
from innerdistill.run.predict import load_predictor, predict_texts

NAMES = ("B-bad", "B-good", "I-bad", "I-good", "O")


def tag_words(words):
    """Neighbours that are good or bad are one entity, of the type of which the text has more; a model has to look."""
    kinds = [word.rstrip("0123456789") for word in words]
    more = max("good", "bad", key=kinds.count)
    tags, is_open = [], False
    for kind in kinds:
        tags.append("O" if kind == "word" else f"{'I' if is_open else 'B'}-{more}")
        is_open = kind != "word"
    return tags


@pytest.fixture(scope="module")
def rows(sentences):
    rows = [{"tokens": text.split(), "tags": tag_words(text.split())} for text, _ in sentences]
    return {"train": rows[:420], "validation": rows[420:600], "selection": rows[600:720]}


@pytest.fixture(scope="module")
def pieces_folder(fill_once):
    """A `pre-trained` model that reads word pieces: random weights, no head."""

    def fill(folder):
        tiny_model(layers=4, seed=3).base_model.save_pretrained(folder)
        make_word_piece_tokenizer(["good", "bad", "word"]).save_pretrained(folder)

    return fill_once("base of pieces", fill)


@pytest.fixture(scope="module")
def options(pieces_folder, fill_once):
    teachers = fill_once("teachers", lambda _: None)
    return {
        "teacher": {"base": str(pieces_folder), "epochs": 8, "folder": str(teachers)},
        "schedule": {"epochs_per_layer": 1, "classification_epochs": 2},
        "trainer": {"learning_rate": 2e-3, "per_device_train_batch_size": 16, "use_cpu": True},
    }


@pytest.fixture(scope="module")
def run(rows, options, tmp_path_factory):
    output = tmp_path_factory.mktemp("run") / "run"
    return distill(**rows, **options, losses={"gold_labels": 1}, onnx=True, baseline=True, output=output)


@pytest.fixture(scope="module")
def quick(run, options):
    """Options of a run of seconds with the fine-tuned teacher."""
    schedule = {"name": "soft_labels", "classification_epochs": 1}
    return {"teacher": run.record.teacher.path, "schedule": schedule, "trainer": options["trainer"]}


def name_tags(arrays):
    return [[NAMES[tag] for tag in tags] for tags in arrays]


def test_scores_are_those_of_seqeval_and_follow_from_the_predictions(run, rows):
    columns = read_predictions(run.folder / "predictions.parquet", "validation")
    gold = [row["tags"] for row in rows["validation"]]
    assert name_tags(columns["label"]) == gold and tuple(run.record.data.names) == NAMES
    for model in ("teacher", "student"):
        predicted = name_tags(logits.argmax(-1) for logits in columns[model])
        scores = run.scores["validation"][model]
        assert scores["metric"] == "entity_f1" and scores["entity_f1"] == pytest.approx(f1_score(gold, predicted))
        assert scores["entity_precision"] == pytest.approx(precision_score(gold, predicted))
        assert scores["entity_recall"] == pytest.approx(recall_score(gold, predicted))
        assert scores["tag_accuracy"] == pytest.approx(accuracy_score(gold, predicted))
        assert scores["entity_f1"] > scores["constant"] + 0.1 and list(scores["per_class"]) == ["bad", "good"]
        for kind, of_type in scores["per_class"].items():
            count = sum(entity[0] == kind for tags in gold for entity in get_entities(tags))
            assert of_type["rows"] == count
    teacher, student = (name_tags(each.argmax(-1) for each in columns[model]) for model in ("teacher", "student"))
    agreement = run.record.agreement["validation"]
    same = [ours == theirs for ours, theirs in zip(teacher, student, strict=True)]
    assert agreement["equal_predictions"] == pytest.approx(np.mean(same))
    assert agreement["equal_labels"] == pytest.approx(accuracy_score(teacher, student))
    assert 0.4 < agreement["equal_predictions"] < 1 and run.scores["validation"]["teacher"]["entity_f1"] > 0.4
    baseline = Run(run.folder / "baseline")
    assert baseline.scores["validation"]["student"]["metric"] == "entity_f1"


def test_the_saved_model_predicts_what_the_run_predicts(run, rows):
    model = AutoModelForTokenClassification.from_pretrained(run.folder / "model")
    assert tuple(model.config.id2label.values()) == NAMES and len(model.bert.encoder.layer) == 2
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    find = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first")
    texts = [" ".join(row["tokens"]) for row in rows["validation"][:60]]
    found_any = 0
    for text, predicted in zip(texts, run.predict(texts), strict=True):
        expected = find(text)
        found_any += len(expected)
        spans = predicted["predicted_spans"]
        keys = ("start", "end", "label")
        assert [tuple(span[key] for key in keys) for span in spans] == [
            (each["start"], each["end"], each["entity_group"]) for each in expected
        ]
        assert [span["text"] for span in spans] == [text[each["start"] : each["end"]] for each in expected]
        assert [span["score"] for span in spans] == pytest.approx([float(each["score"]) for each in expected], abs=1e-5)
        assert len(predicted["predicted_tags"]) == len(text.split())
    assert found_any > 60


def test_the_lines_of_the_card_predict_the_same(run, rows):
    card = (run.folder / "model" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(from transformers import pipeline.*?)```", card, re.DOTALL)
    scope = {}
    exec(code.replace("path/to/this/folder", str(run.folder / "model")), scope)
    texts = [" ".join(row["tokens"]) for row in rows["validation"][:20]]
    for text, predicted in zip(texts, run.predict(texts), strict=True):
        places = [(each["start"], each["end"]) for each in scope["find_entities"](text)]
        assert places == [(span["start"], span["end"]) for span in predicted["predicted_spans"]]
    assert "token-classification" in card and "entity" in card


def test_report_onnx_and_evaluation_know_tags(run, rows, options):
    page = (run.folder / "report.html").read_text()
    assert (
        "entity F1" in page
        and "other tags" in page
        and "<th>type</th><th>entities</th>" in page
        and 'class="reply"' in page
        and 'confusion" style' not in page
    )
    assert '["' not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)  # no packed text
    onnx, of_model = run.record.onnx.files, run.scores["validation"]["student"]
    assert onnx["float32"].scores["entity_f1"] == pytest.approx(of_model["entity_f1"], abs=1e-6)
    assert onnx["int8"].scores["entity_f1"] == pytest.approx(of_model["entity_f1"], abs=0.1)
    scored = evaluate(**rows, **options, model=run.folder, losses={"gold_labels": 1}, output=run.folder)
    for model in ("student", "teacher"):
        assert scored["scores"]["validation"][model] == run.scores["validation"][model]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_conll(path, rows):
    lines = ["\n".join(f"{word} {tag}" for word, tag in zip(row["tokens"], row["tags"], strict=True)) for row in rows]
    path.write_text("\n\n".join(lines) + "\n")


def find_spans(row):
    """Entities as seqeval finds them, by their characters in the words joined by spaces."""
    starts = np.cumsum([0, *(len(word) + 1 for word in row["tokens"])]).tolist()
    spans = []
    for label, first, last in get_entities(row["tags"]):
        spans.append({"start": starts[first], "end": starts[last] + len(row["tokens"][last]), "label": label})
    return spans


def test_every_form_of_data_gives_the_same_student(rows, quick, tmp_path):
    features = Features({"words": List(Value("string")), "ner_tags": List(ClassLabel(names=list(NAMES)))})
    datasets, spans = {}, {}
    for split, of_split in rows.items():
        write_jsonl(tmp_path / f"{split}.jsonl", of_split)
        write_conll(tmp_path / f"{split}.conll", of_split)
        pandas.DataFrame(of_split).to_parquet(tmp_path / f"{split}.parquet")
        ids = [{"words": row["tokens"], "ner_tags": [NAMES.index(tag) for tag in row["tags"]]} for row in of_split]
        datasets[split] = Dataset.from_list(ids, features=features)
        spans[split] = [{"text": " ".join(row["tokens"]), "spans": find_spans(row)} for row in of_split]
        write_jsonl(tmp_path / f"spans-{split}.jsonl", spans[split])

    def name_files(pattern):
        return {split: str(tmp_path / pattern.format(split)) for split in rows}

    ways = {
        "rows": rows,
        "conll": {"data": {**name_files("{}.conll"), "text": "tokens", "label": "tags"}},
        "jsonl": {"data": {**name_files("{}.jsonl"), "text": "tokens", "label": "tags"}},
        "parquet": {"data": {**name_files("{}.parquet"), "text": "tokens", "label": "tags"}},
        "datasets": datasets,
        "data frames": {split: pandas.read_parquet(tmp_path / f"{split}.parquet") for split in rows},
        "spans": {**spans, "data": {"text": "text", "label": "spans"}},
        "files of spans": {"data": {**name_files("spans-{}.jsonl"), "text": "text", "label": "spans"}},
    }
    students = {}
    for name, way in ways.items():
        again = distill(**way, **quick, losses={"gold_labels": 1}, output=tmp_path / name)
        assert again.record.problem_type.name == "token_classification"
        students[name] = (again.folder / "model" / "model.safetensors").read_bytes()
    assert [name for name in ways if students[name] != students["rows"]] == []


class Interrupt(TrainerCallback):
    """Stops the process once, in the middle of a stage."""

    is_armed = True

    def on_step_end(self, args, state, control, **kwargs):
        if Interrupt.is_armed and state.global_step == 30:
            Interrupt.is_armed = False
            raise KeyboardInterrupt


def test_a_resumed_run_ends_with_the_same_student(run, rows, options, tmp_path):
    given = {**rows, **options, "losses": {"gold_labels": 1}, "callbacks": [Interrupt()], "output": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        distill(**given)
    assert not (tmp_path / "run" / "run.json").exists()
    again = distill(**given).folder / "model" / "model.safetensors"
    assert again.read_bytes() == (run.folder / "model" / "model.safetensors").read_bytes()


def test_raw_texts_alone_are_enough(run, rows, quick, tmp_path):
    """The type is that of the teacher; entities are scored against the teacher's."""
    texts = [" ".join(row["tokens"]) for row in rows["train"]]
    free = distill(train=texts, **quick, output=tmp_path / "run")
    assert free.record.problem_type.name == "token_classification"
    columns = read_predictions(free.folder / "predictions.parquet", "validation")
    teacher, student = (name_tags(each.argmax(-1) for each in columns[model]) for model in ("teacher", "student"))
    scores = free.scores["validation"]["student"]
    assert scores["metric"] == "entity_f1_with_the_teacher"
    assert scores["entity_f1_with_the_teacher"] == pytest.approx(f1_score(teacher, student))
    assert all(len(tags) == 0 for tags in columns["label"])
    assert "entity F1" in (free.folder / "report.html").read_text()


def test_lists_of_words_alone_are_enough(run, rows, quick, tmp_path):
    write_jsonl(tmp_path / "words.jsonl", [{"tokens": row["tokens"]} for row in rows["train"]])
    free = distill(data={"train": str(tmp_path / "words.jsonl"), "text": "tokens"}, **quick, output=tmp_path / "run")
    assert free.scores["validation"]["student"]["metric"] == "entity_f1_with_the_teacher"


def test_the_type_of_raw_text_with_spans_is_found_by_an_empty_first_list(run, rows, quick, tmp_path):
    spans = [{"text": " ".join(row["tokens"]), "label": find_spans(row)} for row in rows["train"][:200]]
    spans[0]["label"] = []
    again = distill(train=spans, **quick, output=tmp_path / "run")
    assert again.record.problem_type.name == "token_classification"


def test_unlabelled_rows_and_test_rows_without_tags(run, rows, quick, tmp_path):
    test = [{**row, "tags": None} if number % 2 else row for number, row in enumerate(rows["validation"])]
    unlabelled = [{"tokens": row["tokens"]} for row in rows["selection"]]
    again = distill(**rows, test=test, unlabelled=unlabelled, **quick, output=tmp_path / "run")
    assert again.scores["test"]["student"]["rows"] == 90
    columns = read_predictions(again.folder / "predictions.parquet", "test")
    assert [len(tags) == 0 for tags in columns["label"]] == [number % 2 == 1 for number in range(180)]
    assert again.record.data.rows["unlabelled"] == 120


def test_own_metrics_read_names_of_tags_as_those_of_seqeval(run, rows, quick, tmp_path):
    def macro(labels, predictions):
        assert isinstance(labels, list) and isinstance(labels[0], list) and set(labels[0]) <= set(NAMES)
        return f1_score(labels, predictions, average="macro")

    own = {"macro": macro, "recall": recall_score}
    again = distill(
        **rows, **quick, metrics=own, data={"problem_type": "token_classification"}, output=tmp_path / "run"
    )
    columns = read_predictions(again.folder / "predictions.parquet", "validation")
    gold, predicted = name_tags(columns["label"]), name_tags(each.argmax(-1) for each in columns["student"])
    scores = again.scores["validation"]["student"]
    assert scores["macro"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert scores["recall"] == pytest.approx(recall_score(gold, predicted)) == scores["entity_recall"]


def test_an_own_metric_may_be_the_primary_one(run, rows, quick, tmp_path):
    own = {"macro": lambda labels, predictions: f1_score(labels, predictions, average="macro")}
    data = {"problem_type": "token_classification", "metric": "macro"}
    again = distill(**rows, **quick, metrics=own, data=data, output=tmp_path / "run")
    scores = again.scores["validation"]["student"]
    assert scores["metric"] == "macro" and scores["macro"] == pytest.approx(
        np.mean([2 * each["precision"] * each["recall"] / (each["precision"] + each["recall"]) for each in scores["per_class"].values()])
    )  # fmt: skip


def test_groups_stay_together(run, rows, quick, tmp_path):
    train = [{**row, "document": f"d{number // 5}"} for number, row in enumerate(rows["train"])]
    again = distill(train=train, **quick, data={"group": "document", "text": "tokens", "label": "tags"}, output=tmp_path / "run")  # fmt: skip
    columns = read_predictions(again.folder / "predictions.parquet", "validation")
    assert len(np.unique(columns["group"])) * 5 == len(columns["row"])
    assert again.scores["validation"]["student"]["entity_f1"] > 0


def test_held_out_rows_have_every_type(run, rows, quick, tmp_path):
    train = [row for row in rows["train"] if "B-bad" not in row["tags"]]
    train += [row for row in rows["train"] if "B-bad" in row["tags"]][:3]
    again = distill(train=train, **quick, output=tmp_path / "run")
    columns = read_predictions(again.folder / "predictions.parquet", "validation")
    assert sum(NAMES.index("B-bad") in tags for tags in columns["label"]) == 1
    assert again.record.data.rows["validation"] == pytest.approx(len(train) / 10, abs=2)


def test_tag_names_in_another_order_are_matched_by_name(run, rows, quick, tmp_path):
    """The ids of the data set are not those of the model."""
    order = ["O", "B-good", "I-good", "B-bad", "I-bad"]
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=order))})
    datasets = {}
    for split, of_split in rows.items():
        ids = [{"tokens": row["tokens"], "ner_tags": [order.index(tag) for tag in row["tags"]]} for row in of_split]
        datasets[split] = Dataset.from_list(ids, features=features)
    expected, again = (
        distill(**given, **quick, output=tmp_path / name) for name, given in (("rows", rows), ("datasets", datasets))
    )
    for model in ("teacher", "student"):
        assert again.scores["validation"][model] == expected.scores["validation"][model]


def test_a_model_whose_tags_are_swapped_is_noticed(run, rows, quick, tmp_path):
    model = AutoModelForTokenClassification.from_pretrained(run.record.teacher.path)
    names = {0: "O", 1: "B-good", 2: "I-bad", 3: "I-good", 4: "B-bad"}
    model.config.id2label, model.config.label2id = names, {name: number for number, name in names.items()}
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    given = {**quick, "teacher": {"path": model, "allow_weak": True}}
    again = distill(**rows, **given, tokenizer=tokenizer, output=tmp_path / "run")
    (warning,) = [warning for warning in again.record.warnings if "swapped" in warning]
    assert "its accuracy over words of entities is" in warning and "'B-bad' meant 'O'" in warning


def test_predictions_of_files(run, rows, tmp_path):
    texts = [{"id": number, "tokens": " ".join(row["tokens"])} for number, row in enumerate(rows["validation"][:9])]
    lists = [{"tokens": row["tokens"]} for row in rows["validation"][:9]]
    write_jsonl(tmp_path / "texts.jsonl", texts)
    write_jsonl(tmp_path / "lists.jsonl", lists)
    write_conll(tmp_path / "words.conll", rows["validation"][:9])
    pandas.DataFrame(lists).to_parquet(tmp_path / "lists.parquet")
    expected = run.predict([row["tokens"] for row in texts])
    for name in ("texts.jsonl", "lists.jsonl", "words.conll", "lists.parquet"):
        for ending in ("jsonl", "parquet"):
            output = tmp_path / f"{name}-out.{ending}"
            assert main(["predict", str(run.folder), str(tmp_path / name), "--output", str(output)]) == 0
            frame = pandas.read_json(output, lines=True) if ending == "jsonl" else pandas.read_parquet(output)
            assert [list(tags) for tags in frame["predicted_tags"]] == [row["predicted_tags"] for row in expected]
            for spans, row in zip(frame["predicted_spans"], expected, strict=True):
                for span, of_text in zip(spans, row["predicted_spans"], strict=True):
                    assert span == pytest.approx(of_text, abs=1e-6)


def test_texts_of_several_windows_are_examples_as_all_others(rows, quick, tmp_path):
    """Scored, shown, predicted and evaluated as a whole, though a window holds seven tokens."""
    given = {**rows, **quick, "data": {"text": "tokens", "label": "tags", "max_length": 9}}
    run = distill(**given, onnx=True, output=tmp_path / "run")
    columns = read_predictions(run.folder / "predictions.parquet", "validation")
    scores = run.scores["validation"]["student"]
    predicted, gold = (
        name_tags(each.argmax(-1) for each in columns["student"]),
        [row["tags"] for row in rows["validation"]],
    )
    assert scores["entity_f1"] == pytest.approx(f1_score(gold, predicted)) and scores["rows"] == 180
    assert run.record.data.rows["train"] == 420 and run.record.onnx.rows == 180
    (warning,) = [warning for warning in run.record.warnings if "of validation end inside a word" in warning]
    assert warning.endswith("that no window of 9 tokens holds as a whole.")
    examples = json.loads((run.folder / "examples.json").read_text())
    assert examples["disagreements"]
    for example in examples["disagreements"]:
        row = rows["validation"][example["row"] - 1]
        assert example["texts"] == [" ".join(row["tokens"])]
        for model in ("teacher", "student"):
            (tags,) = name_tags([columns[model][example["row"] - 1].argmax(-1)])
            shown = [
                f"{' '.join(row['tokens'][first : last + 1])} ({kind})" for kind, first, last in get_entities(tags)
            ]
            assert example[model]["answer"] == (", ".join(shown) or "no entity")
    answers = run.predict([row["tokens"] for row in rows["validation"]])
    assert [answer["predicted_tags"] for answer in answers] == predicted
    scored = evaluate(**given, model=run.folder, output=tmp_path / "evaluated")
    assert scored["scores"]["validation"]["student"]["entity_f1"] == scores["entity_f1"]


def test_the_teacher_alone_and_a_long_text(run, rows, options, tmp_path):
    """A text of several windows is answered as a whole, each word once."""
    teacher = finetune(**rows, **options, output=tmp_path / "teacher")
    ours, theirs = teacher.scores["validation"]["student"], run.scores["validation"]["teacher"]
    assert ours["per_class"] == theirs["per_class"] and ours["entity_f1"] == theirs["entity_f1"]
    row = {"tokens": [], "tags": []}
    for each in rows["validation"][:12]:
        row["tokens"] += each["tokens"]
    (answer,) = teacher.predict([" ".join(row["tokens"])])
    predicted, gold = answer["predicted_tags"], tag_words(row["tokens"])
    assert len(predicted) == len(gold) > 90
    assert np.mean([(ours == "O") == (theirs == "O") for ours, theirs in zip(predicted, gold, strict=True)]) > 0.9
    text = " ".join(row["tokens"])
    assert all(text[span["start"] : span["end"]] == span["text"] for span in answer["predicted_spans"])


@pytest.fixture(scope="module")
def byte_tagger(rows, tmp_path_factory):
    """A tagger of random weights that reads pieces of bytes, as RoBERTa does."""
    folder = tmp_path_factory.mktemp("models") / "bytes"
    tokenizer = make_byte_tokenizer([" ".join(row["tokens"]) for row in rows["train"]])
    config = tiny_model("roberta", vocab_size=400, pad_token_id=0).config
    config.id2label = dict(enumerate(["O", "B-good", "I-good", "B-bad", "I-bad"]))
    config.label2id = {name: number for number, name in config.id2label.items()}
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_config(config)
    with torch.no_grad():
        model.classifier.weight.mul_(20)  # entities of every type
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_pieces_of_bytes_are_read_as_the_pipeline_reads_them(byte_tagger, rows):
    find = pipeline("token-classification", model=str(byte_tagger), aggregation_strategy="first")
    texts = [" ".join(row["tokens"][:8]) for row in rows["validation"][:40]]
    predictor = load_predictor(byte_tagger, max_length=None, texts=1)
    counts = []
    for text, predicted in zip(texts, predict_texts(predictor, texts, number=1), strict=True):
        expected, spans = find(text), predicted["predicted_spans"]
        counts.append(len(spans))
        assert [(span["start"], span["end"], span["label"]) for span in spans] == [
            (each["start"], each["end"], each["entity_group"]) for each in expected
        ]
        assert [span["score"] for span in spans] == pytest.approx([float(each["score"]) for each in expected], abs=1e-5)
    assert sum(counts) > 100


def test_a_tagger_of_any_folder_is_exported(byte_tagger, capsys):
    assert main(["export", str(byte_tagger)]) == 0
    assert (byte_tagger / "onnx" / "model.onnx").is_file() and "model.onnx" in capsys.readouterr().out
