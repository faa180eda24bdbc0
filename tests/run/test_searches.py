"""Sentence encoders that are scored by a search: whole runs, with prompts for queries and documents."""

import csv
import json
import shutil

import numpy as np
import pytest
from conftest import tiny_model
from sentence_models import make_modules, write_sentence_model
from sentence_transformers import SentenceTransformer
from sklearn.metrics import ndcg_score

from innerdistill import distill, evaluate
from innerdistill.cli.main import main
from innerdistill.cli.printing import print_onnx
from innerdistill.evaluation.compare import score_with_errors
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.report.run_folder import read_predictions, read_record
from innerdistill.report.stored_run import FolderRun
from innerdistill.run.validation_split import load_validation
from innerdistill.sweep.blocks import Block, write_block
from innerdistill.sweep.grid import load_sweep
from innerdistill.sweep.sweep import report_on, run_sweep

PROMPTS = {"query": "good1 ", "passage": "bad1 ", "other": "word1 "}
METRICS = ("ndcg_at_10", "mrr_at_10", "recall_at_10", "recall_at_100")


@pytest.fixture(scope="module")
def files(tmp_path_factory, sentences, tokenizer):
    """A teacher with prompts, texts, and queries with documents."""
    folder = tmp_path_factory.mktemp("searches")
    encoder = tiny_model(layers=4, seed=3).base_model
    options = {"prompts": PROMPTS, "default_prompt_name": "other"}
    write_sentence_model(folder / "teacher", encoder, tokenizer, *make_modules(), max_seq_length=24, **options)
    settings = folder / "teacher" / "config_sentence_transformers.json"
    content = json.loads(settings.read_text())
    settings.write_text(json.dumps({**content, "prompts": PROMPTS}))  # the library adds an empty one for documents
    texts = list(dict.fromkeys(text for text, _ in sentences))
    with (folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["sentence"], *([text] for text in texts[:100])])
    write_search(folder / "search", texts[100:150], [f"{text} {text}" for text in texts[100:115]])
    return folder


def write_search(folder, documents, queries):
    """Each query is about two documents, one of them more."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{number}", "title": "", "text": text} for number, text in enumerate(documents)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"_id": f"q{number}", "text": text} for number, text in enumerate(queries)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, numbers in (("dev", range(len(queries) // 3)), ("test", range(len(queries) // 3, len(queries)))):
        lines = [f"q{number}\td{number + near}\t{2 - near}" for number in numbers for near in range(2)]
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))


@pytest.fixture(scope="module")
def make_recipe(files):
    def make(output, **data):
        search = str(files / "search")
        return {
            "data": {"train": str(files / "texts.csv"), "text": "sentence", "validation": search, **data},
            "teacher": {"path": str(files / "teacher"), "folder": str(files / "cache")},
            "schedule": {"total_steps": 8},
            "trainer": {"per_device_train_batch_size": 16, "learning_rate": 1e-3, "use_cpu": True},
            "output": str(files / output),
        }

    return make


@pytest.fixture(scope="module")
def run(make_recipe, files):
    content = make_recipe("run", selection=str(files / "search" / "qrels" / "dev.tsv"))
    return distill({**content, "onnx": True, "checkpoint": "best"})


def search_slowly(model, folder, name="test"):
    """Gains (Q, M) and cosines (Q, M), by the library itself."""
    documents, queries = (
        [json.loads(line) for line in (folder / file).read_text().splitlines()]
        for file in ("corpus.jsonl", "queries.jsonl")
    )
    lines = [line.split("\t") for line in (folder / "qrels" / f"{name}.tsv").read_text().splitlines()[1:]]
    judged = [query for query in queries if query["_id"] in {line[0] for line in lines}]
    gains = np.zeros((len(judged), len(documents)))
    positions = {row["_id"]: position for rows in (documents, judged) for position, row in enumerate(rows)}
    for query, document, gain in lines:
        gains[positions[query], positions[document]] = int(gain)
    sides = [
        model.encode([row["text"] for row in rows], prompt=PROMPTS[name], normalize_embeddings=True)
        for name, rows in (("query", judged), ("passage", documents))
    ]
    return gains, sides[0] @ sides[1].T


def test_scores_are_those_of_the_saved_model_searched_slowly(run, files):
    record = read_record(run.folder)
    assert record.data.problem_type == "sentence_similarity" and record.data.metric == "ndcg_at_10"
    for split, name, queries in (("validation", "test", 10), ("selection", "dev", 5)):
        gains, cosines = search_slowly(
            SentenceTransformer(str(run.folder / "model"), device="cpu"), files / "search", name
        )
        scores = record.scores[split].student
        assert scores.rows == queries == len(gains)
        assert scores.primary == pytest.approx(ndcg_score(gains, cosines, k=10), abs=1e-6)
        order = np.argsort(-cosines, axis=1)
        ranked = np.take_along_axis(gains, order, axis=1) > 0
        assert scores.values["recall_at_10"] == pytest.approx((ranked[:, :10].sum(1) / 2).mean())
        first = ranked.argmax(1)
        assert scores.values["mrr_at_10"] == pytest.approx(np.where(first < 10, 1 / (first + 1), 0).mean())
        assert scores.values["recall_at_100"] == 1
    assert record.data.searches["validation"]["documents"] == 50
    assert record.scores["validation"].untrained is not None
    for name in ("similarity_correlation", "shared_neighbours", "mean_cosine"):
        assert {name, f"{name}_error"} <= set(record.agreement["validation"])
    assert record.stages[-1].epochs[-1].scores["ndcg_at_10"] >= 0


def test_predictions_are_enough_to_compute_every_score_again(run):
    record = read_record(run.folder)
    for split, scores in record.scores.items():
        columns = read_predictions(run.folder / "predictions.parquet", split)
        examples = LabelledExamples.from_columns(columns, scoring=record.data.scoring)
        for model in ("student", "teacher", "untrained"):
            stored = getattr(scores, model)
            if stored is not None:
                again = score_with_errors(examples, columns[model], scoring=record.data.scoring)
                assert again["ndcg_at_10"] == pytest.approx(stored.primary, abs=1e-9)
                assert again["standard_error"] == pytest.approx(stored.standard_error, abs=1e-9)


def test_page_card_and_terminal_show_the_search(run, capsys):
    page, card = (run.folder / "report.html").read_text(), (run.folder / "model" / "README.md").read_text()
    for text in (page, card):
        assert "nDCG@10" in text and "recall@100" in text and "10 queries, 50 documents" in text
    examples = json.loads((run.folder / "examples.json").read_text())["disagreements"]
    documents = {json.loads(line)["text"] for line in (run.folder.parent / "search" / "corpus.jsonl").open()}
    assert examples and all(example["teacher"]["answer"] in documents for example in examples)
    assert {example["label"] for example in examples} <= documents
    (run.folder / "recipe.json").write_text(json.dumps(read_record(run.folder).recipe.model_dump(mode="json")))
    assert main(["evaluate", str(run.folder / "recipe.json")]) == 0
    out = capsys.readouterr().out
    assert "nDCG@10" in out and "recall@100" in out


def test_evaluate_scores_a_model_again(run, make_recipe):
    results = evaluate(make_recipe("run"))["scores"]["validation"]["student"]
    stored = read_record(run.folder).scores["validation"].student
    assert results["ndcg_at_10"] == pytest.approx(stored.primary, abs=1e-6)


def test_onnx_files_are_scored_by_the_search(run):
    onnx = read_record(run.folder).onnx
    assert onnx.metric == "ndcg_at_10" and set(METRICS) <= set(onnx.files["int8"].scores)
    assert onnx.files["float32"].scores["ndcg_at_10"] == pytest.approx(
        onnx.files["model"].scores["ndcg_at_10"], abs=1e-3
    )


def test_the_neighbours_of_a_file_are_compared_with_the_models(run, capsys):
    record = read_record(run.folder)
    int8, exact = record.onnx.files["int8"].agreement, record.onnx.files["float32"].agreement
    assert exact["shared_neighbours"] == pytest.approx(1, abs=0.01) and 0 < int8["shared_neighbours"] <= 1
    shown, title = f"{int8['shared_neighbours']:.3f}", "ten neighbours in common"
    for file in ("report.html", "model/README.md"):
        text = (run.folder / file).read_text()
        assert title in text and shown in text
    print_onnx(record.onnx)
    lines = capsys.readouterr().out
    assert shown in lines and "neighbours" in lines and max(map(len, lines.splitlines())) <= 120
    older = record.onnx.model_copy(deep=True)
    for file in older.files.values():
        file.__pydantic_extra__.pop("shared_neighbours", None)  # as records of earlier versions are
    print_onnx(older)
    assert "p20 to p80" in capsys.readouterr().out


def test_export_reads_a_finished_run_with_its_prompts(run):
    from innerdistill.problem_types.problem_types import load_fine_tuned

    model, _ = load_fine_tuned(str(run.folder / "model"))
    rows, collate = load_validation(model, run.folder, {})
    from innerdistill.evaluation.predictions import predict_logits

    stored = read_predictions(run.folder / "predictions.parquet", "validation")["student"]
    np.testing.assert_allclose(predict_logits(model, rows, collate), stored, atol=1e-5)


def test_a_block_of_a_sweep_stores_searches(run, tmp_path):
    stored = FolderRun(run.folder)
    write_block(tmp_path / "teacher.jsonl", {"one": stored, "two": stored})
    again = Block(tmp_path / "teacher.jsonl").find_run("two")
    for split in ("validation", "selection"):
        columns, expected = again.read_predictions(split), stored.read_predictions(split)
        for part in ("student", "teacher"):
            np.testing.assert_array_equal(columns[part], expected[part])
        for label, other in zip(columns["label"], expected["label"], strict=True):
            np.testing.assert_array_equal(label, other)


def test_a_selection_split_of_texts_is_compared_with_the_teacher(make_recipe):
    run = distill(make_recipe("texts", metric="mrr_at_10"))
    record = read_record(run.folder)
    assert record.data.metric == "mrr_at_10" and record.data.against_teacher == ("selection",)
    assert record.scores["selection"].student.metric == "similarity_correlation_with_the_teacher"
    columns = read_predictions(run.folder / "predictions.parquet", "selection")
    assert len(columns["label"]) == len(columns["student"])


def test_a_metric_of_pairs_and_models_without_embeddings_are_refused(make_recipe, teacher_folder):
    with pytest.raises(ValueError, match=r"data\.metric: 'spearman' is no metric for searches"):
        distill(make_recipe("refused", metric="spearman"))
    for problem_type in (None, "single_label_classification"):
        content = make_recipe("refused", problem_type=problem_type)
        content["teacher"]["path"] = str(teacher_folder)
        with pytest.raises(ValueError, match="name a sentence encoder|predicts classes, but sentence similarity"):
            distill(content)


def test_the_command_line_refuses_a_wrong_search_before_anything_is_written(make_recipe, files, capsys):
    cases = [
        ({"validation": str(files / "nothing")}, "data.validation"),
        ({"validation": str(files)}, f"{files / 'corpus.jsonl'} is missing; a folder of queries and documents has"),
        ({"train": str(files / "search")}, "data.train"),
        (
            {"validation": None, "metric": "recall_at_10"},
            "data.metric: 'recall_at_10' needs labels",
        ),
        ({"label": "score"}, "data.label: it is not read where a split is a folder of queries and documents"),
    ]
    for changes, message in cases:
        (files / "refused.json").write_text(json.dumps(make_recipe("refused", **changes)))
        assert main(["distill", str(files / "refused.json")]) == 2
        error = capsys.readouterr().err
        assert message in " ".join(error.split()) and "Traceback" not in error
        assert not (files / "refused").exists()


@pytest.mark.slow  # every cell is a process of its own
def test_a_sweep_of_searches_has_intervals_over_queries(make_recipe, tmp_path):
    recipe = {key: value for key, value in make_recipe("cell").items() if key != "output"}
    methods = {"all losses": {"schedule.name": "sid"}, "embeddings": {"schedule.name": "soft_labels"}}
    content = {"recipe": recipe, "methods": methods, "seeds": [1, 2], "compare": [["all losses", "embeddings"]]}
    sweep = load_sweep({**content, "output": str(tmp_path / "sweep")})
    run_sweep(sweep)
    text = (sweep.folder / "report.md").read_text()
    assert "nDCG@10" in text and "all losses" in text
    for folder in ("all-losses", "embeddings"):
        shutil.rmtree(sweep.folder / folder)
    report_on(sweep)  # from its blocks
    assert (sweep.folder / "report.md").read_text() == text
