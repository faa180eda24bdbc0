"""Sentence encoders through a whole run: texts without labels, scored pairs, predictions, and what is refused."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import tiny_model
from scipy.stats import spearmanr
from sentence_models import encode, make_modules, write_sentence_model

from innerdistill import distill, evaluate
from innerdistill.cli.main import main
from innerdistill.evaluation.compare import score_with_errors
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.report.run_folder import read_predictions, read_record
from innerdistill.report.stored_run import FolderRun
from innerdistill.run.predict import predict_file
from innerdistill.sweep.blocks import Block, write_block

TRAINER = {"per_device_train_batch_size": 16, "learning_rate": 1e-3, "use_cpu": True}


def write_rows(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory, sentences, tokenizer, request):
    """A teacher, texts, and scored pairs of texts."""
    folder = tmp_path_factory.mktemp("similarity")
    encoder = tiny_model(layers=4, seed=3).base_model
    write_sentence_model(folder / "teacher", encoder, tokenizer, *make_modules(), max_seq_length=24)
    texts = [text for text, _ in sentences]
    write_rows(folder / "texts.csv", ["sentence"], [[text] for text in texts[:120]])
    pairs = [[texts[i], texts[i + 1], round(i % 7 / 2, 1)] for i in range(120, 180)]
    write_rows(folder / "pairs.csv", ["s1", "s2", "score"], pairs)
    write_rows(folder / "unscored.csv", ["s1", "s2"], [pair[:2] for pair in pairs])
    return folder


@pytest.fixture(scope="module")
def make_recipe(files):
    def make(output, **data):
        return {
            "data": {"train": str(files / "texts.csv"), "text": "sentence", **data},
            "teacher": {"path": str(files / "teacher"), "folder": str(files / "cache")},
            "schedule": {"total_steps": 8},
            "trainer": TRAINER,
            "output": str(files / output),
        }

    return make


@pytest.fixture(scope="module")
def scored(make_recipe, files):
    """A run whose validation is pairs with scores."""
    return distill(make_recipe("scored", validation=str(files / "pairs.csv"), pairs=["s1", "s2"]))


@pytest.fixture(scope="module")
def unscored(make_recipe):
    """A run of texts alone."""
    return distill(make_recipe("unscored"))


def test_pairs_are_scored_by_the_files_that_were_saved(scored, files):
    record = read_record(scored.folder)
    with (files / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    sides = [encode(scored.folder / "model", [row[name] for row in rows]) for name in ("s1", "s2")]
    cosines = (sides[0] * sides[1]).sum(1) / np.linalg.norm(sides[0], axis=1) / np.linalg.norm(sides[1], axis=1)
    expected = spearmanr(cosines, [float(row["score"]) for row in rows]).statistic
    scores = record.scores["validation"]
    assert record.data.problem_type == "sentence_similarity" and record.data.metric == "spearman"
    assert scores.student.primary == pytest.approx(expected, abs=1e-3) and scores.student.rows == 60
    assert scores.untrained is not None and set(record.untrained_agreement) == {"validation"}
    assert record.data.against_teacher == ("selection",)
    assert record.scores["selection"].student.metric == "similarity_correlation_with_the_teacher"
    assert [stage.stage.losses for stage in record.stages][-1] == {"embedding_cosine": 1.0}
    assert {"token_cosine", "attention_kl"} == set(record.stages[0].stage.losses)
    for name in ("similarity_correlation", "shared_neighbours", "mean_cosine"):
        assert {name, f"{name}_error"} <= set(record.agreement["validation"])


@pytest.mark.parametrize("run", ["scored", "unscored"])
def test_predictions_are_enough_to_compute_every_score_again(run, request):
    folder = request.getfixturevalue(run).folder
    record = read_record(folder)
    for split, scores in record.scores.items():
        columns, scoring = read_predictions(folder / "predictions.parquet", split), record.data.scoring
        if split in record.data.against_teacher:
            scoring = scoring.switch_to_teacher()
        examples = LabelledExamples.from_columns(columns, scoring=scoring)
        for model in ("student", "teacher", "untrained"):
            stored = getattr(scores, model)
            if stored is not None:
                again = score_with_errors(examples, columns[model], scoring=scoring)
                assert again[stored.metric] == pytest.approx(stored.primary, abs=1e-6)
                assert again["standard_error"] == pytest.approx(stored.standard_error, abs=1e-6)
    assert any(scores.untrained is not None for scores in record.scores.values())


def test_texts_alone_are_compared_with_the_teacher(unscored):
    record = read_record(unscored.folder)
    assert record.data.metric == "similarity_correlation_with_the_teacher" and record.is_against_teacher
    assert record.scores["validation"].teacher.primary == pytest.approx(1)
    agreement = record.agreement["validation"]
    assert agreement["similarity_correlation"] == pytest.approx(record.scores["validation"].student.primary)
    assert 0 < agreement["shared_neighbours"] < 1 and agreement["output_distance"] == pytest.approx(
        1 - agreement["mean_cosine"]
    )
    page = (unscored.folder / "report.html").read_text()
    assert "Neighbours are the ten most similar" in page and "ten nearest neighbours in common" in page
    examples = json.loads((unscored.folder / "examples.json").read_text())["disagreements"]
    assert examples and isinstance(examples[0]["teacher"]["answer"], str)
    card = (unscored.folder / "model" / "README.md").read_text()
    assert "SentenceTransformer" in card and "sentence-similarity" in card


def test_a_page_of_pairs_shows_their_similarities(scored):
    page = (scored.folder / "report.html").read_text()
    assert "Similarities of pairs" in page and "before training" in page


def test_predictions_are_embeddings(scored, files, tmp_path, capsys):
    table = predict_file(scored.folder, files / "texts.csv")
    texts = table["sentence"].to_pylist()
    expected = encode(scored.folder / "model", texts)
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), expected, atol=1e-4)
    for suffix in ("jsonl", "parquet", "npy"):
        output = tmp_path / f"out.{suffix}"
        assert main(["predict", str(scored.folder), str(files / "texts.csv"), "--output", str(output)]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([line["embedding"] for line in lines], expected, atol=1e-4)
    np.testing.assert_allclose(
        np.array(pq.read_table(tmp_path / "out.parquet")["embedding"].to_pylist()), expected, atol=1e-4
    )
    array = np.load(tmp_path / "out.npy")
    assert array.dtype == np.float32 and array.shape == expected.shape
    np.testing.assert_allclose(array, expected, atol=1e-4)


def test_pairs_are_predicted_with_their_similarity(scored, files, tmp_path):
    table = predict_file(scored.folder, files / "pairs.csv", text=["s1", "s2"])
    sides = [np.array(table[name].to_pylist()) for name in ("embedding", "embedding2")]
    cosines = (sides[0] * sides[1]).sum(1) / np.linalg.norm(sides[0], axis=1) / np.linalg.norm(sides[1], axis=1)
    np.testing.assert_allclose(table["similarity"].to_pylist(), cosines, atol=1e-6)
    assert scored.predict([table["s1"][0].as_py()])[0]["embedding"] == pytest.approx(sides[0][0].tolist(), abs=1e-5)


def test_evaluate_scores_a_model_again(scored, make_recipe, files):
    results = evaluate(make_recipe("scored", validation=str(files / "pairs.csv"), pairs=["s1", "s2"]))
    stored = read_record(scored.folder).scores["validation"].student
    assert results["scores"]["validation"]["student"]["spearman"] == pytest.approx(stored.primary, abs=1e-6)


def test_pairs_without_scores_are_compared_with_the_teacher(make_recipe, files):
    run = distill(make_recipe("pairs alone", validation=str(files / "unscored.csv"), pairs=["s1", "s2"]))
    record = read_record(run.folder)
    assert record.is_against_teacher and record.scores["validation"].student.rows == 60


def test_training_pairs_are_learned_from_text_by_text(make_recipe, files):
    data = {"train": str(files / "pairs.csv"), "text": ["s1", "s2"], "label": "score"}
    run = distill(make_recipe("training pairs", **data))
    record = read_record(run.folder)
    assert record.data.rows["train"] + record.data.rows["selection"] + record.data.rows["validation"] == 60
    assert record.scores["validation"].student.metric == "spearman" and not record.data.against_teacher


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": True}, "baseline: a student for sentence similarity learns from the teacher's embeddings alone"),
        ({"schedule": {"name": "finetune"}}, "schedule.name: 'finetune' learns from labels alone"),
        ({"losses": {"gold_labels": 1}}, "losses.gold_labels: sentence similarity learns from the teacher's embeddings"),
        ({"data": {"pairs": ["s1", "s2"]}}, "data.pairs: no split that is scored has the columns 's1', 's2'"),
        ({"data": {"pairs": ["s1", "other"], "validation": "pairs.csv"}}, "data.validation: .*no column 'other'"),
        ({"data": {"pairs": ["s1", "s2"], "validation": "wrong.csv"}}, "validation: row 2: expected a number .* got 'good'"),
        ({"data": {"text": "input_ids"}}, "data.text: 'input_ids' would hold token ids|no column 'input_ids'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_one_sentence(make_recipe, files, changes, message):
    write_rows(files / "wrong.csv", ["s1", "s2", "score"], [["a", "b", "1"], ["c", "d", "good"]])
    content = make_recipe("refused")
    for key, value in changes.items():
        content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    if "validation" in content["data"]:
        content["data"]["validation"] = str(files / content["data"]["validation"])
    with pytest.raises(ValueError, match=message):
        distill(content)
    assert not (files / "refused").exists()


def test_the_command_line_gives_the_true_reason(make_recipe, files, capsys):
    (files / "baseline.yaml").write_text(json.dumps({**make_recipe("refused"), "baseline": True}))
    assert main(["distill", str(files / "baseline.yaml")]) == 2
    assert "learns from the teacher's embeddings alone" in capsys.readouterr().err


def test_what_is_odd_about_the_texts_is_told(make_recipe, files, sentences):
    texts = ["", "  ", *(f"{text} " * 30 for text, _ in sentences[:40])]
    write_rows(files / "odd.csv", ["sentence"], [[text] for text in texts])
    run = distill({**make_recipe("odd"), "data": {"train": str(files / "odd.csv"), "text": "sentence"}})
    warnings = " ".join(read_record(run.folder).warnings)
    assert " empty in train: the embedding of nothing" in warnings
    assert "texts of train were longer than 24 tokens and were truncated" in warnings


def test_a_teacher_that_makes_the_same_of_all_texts_is_refused(make_recipe, files, tokenizer):
    encoder = tiny_model(layers=2, seed=3).base_model
    with torch.no_grad():
        last = encoder.encoder.layer[-1].output.LayerNorm
        last.weight.zero_()
        last.bias.fill_(1.0)
    write_sentence_model(files / "flat", encoder, tokenizer, *make_modules())
    content = make_recipe("flat run")
    content["teacher"]["path"] = str(files / "flat")
    with pytest.raises(ValueError, match=r"The teacher makes the same embedding of all .* examples of selection"):
        distill(content)


def test_pairs_are_for_sentence_encoders_alone(make_recipe, files, teacher_folder):
    content = make_recipe("refused", pairs=["s1", "s2"], validation=str(files / "pairs.csv"))
    content["teacher"]["path"] = str(teacher_folder)
    with pytest.raises(ValueError, match="data.pairs|predicts classes"):
        distill(content)


@pytest.mark.parametrize("run", ["scored", "unscored"])
def test_a_block_of_a_sweep_stores_embeddings(run, request, tmp_path):
    stored = FolderRun(request.getfixturevalue(run).folder)
    write_block(tmp_path / "teacher.jsonl", {"one": stored, "two": stored})
    for name in ("one", "two"):
        again = Block(tmp_path / "teacher.jsonl").find_run(name)
        for split in stored.record.scores:
            columns, expected = again.read_predictions(split), stored.read_predictions(split)
            expected.pop("untrained", None)  # its scores are in the record
            assert columns.keys() == expected.keys()
            for part in columns:
                np.testing.assert_array_equal(columns[part], expected[part])
    assert Block(tmp_path / "teacher.jsonl").lines["two"]["teacher"] == "teacher"  # stored once


def test_the_plan_tells_how_large_the_cached_embeddings_are(make_recipe, files, capsys):
    content = make_recipe("planned")
    content["schedule"] = {"classification_epochs": 3, "epochs_per_layer": 1}
    content["teacher"]["folder"] = str(files / "another cache")
    (files / "plan.yaml").write_text(json.dumps(content))
    assert main(["plan", str(files / "plan.yaml")]) == 0
    assert "teacher outputs" in capsys.readouterr().out


def test_speed_and_a_report_that_is_written_again(scored, make_recipe, files):
    assert main(["speed", str(scored.folder)]) == 0
    (scored.folder / "report.html").unlink()
    again = distill(make_recipe("scored", validation=str(files / "pairs.csv"), pairs=["s1", "s2"]))
    assert again.scores["validation"]["student"]["spearman"] == scored.scores["validation"]["student"]["spearman"]
