"""Problems that raise no error are warned of, once in the log and once in run.json."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from innerdistill import Recipe, distill
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.scoring import score_outputs
from innerdistill.report.formatting import format_share
from innerdistill.report.headline import list_problems, summarize_run
from innerdistill.report.next_steps import suggest_next_steps
from innerdistill.report.run_folder import read_record
from innerdistill.run.assemble import assemble
from innerdistill.run.judge_teacher import find_teacher_problem, list_missed_classes
from innerdistill.run.teacher_cache import compute_teacher_logits
from innerdistill.run.warnings import collect_warnings
from innerdistill.training.stage import Stage, StageRecord, list_stage_warnings


@pytest.fixture
def content(recipe, teacher_folder, tmp_path):
    """A short run; other sections by name."""

    def make(**changes):
        made = recipe(
            tmp_path / "run", data={"train_rows": 96}, schedule={"name": "soft_labels", "classification_epochs": 2}
        )
        made["teacher"] = {"path": str(teacher_folder), "folder": str(tmp_path / "teachers"), "targets": "live"}
        return {**made, **changes}

    return make


def test_a_student_that_learns_nothing(content, caplog):
    record = read_record(distill(content(trainer={"learning_rate": 0.0, "use_cpu": True})))
    sentence = "No parameter of the student changed in stage 'classification'. The learning rate was 0: set trainer."
    assert sentence in caplog.text and any(sentence in warning for warning in record.warnings)


def test_a_stage_of_one_warm_up_step(content, caplog):
    distill(content(schedule={"name": "soft_labels", "total_steps": 2, "classification_epochs": 1}))
    assert "No parameter" not in caplog.text


def test_stages_with_the_same_problem_share_a_warning():
    still = [StageRecord(Stage(name, {}, {}, steps=1, is_internal=True), steps=1) for name in ("layer 1", "layer 1+2")]
    rising = StageRecord(Stage("classification", {}, {}, epochs=1))
    rising.restore({"learned": True, "thirds": [0.5, 0.6], "learning_rate": 1e-4})
    sound = StageRecord(Stage("sound", {}, {}, epochs=1), learned=True)
    assert list_stage_warnings([*still, sound, rising]) == [
        "No parameter of the student changed in stages 'layer 1', 'layer 1+2'. A stage of one step has the learning "
        "rate 0, with which a warm-up begins. Train more steps, or set internal_trainer.warmup_steps=0.",
        "The loss did not fall in stage 'classification' (0.5 in its first third, 0.6 in its last). The learning rate of "
        "1e-4 is a usual one: train longer, and check that the labels belong to the texts.",
    ]


def test_a_run_whose_stages_all_stand_still_logs_one_warning(content, caplog):
    made = content(schedule={"name": "sid", "total_steps": 8}, trainer={"learning_rate": 0.0, "use_cpu": True})
    record = read_record(distill(made))
    assert len(record.stages) > 1
    assert len([line for line in caplog.messages if "No parameter" in line]) == 1
    assert len([warning for warning in record.warnings if "No parameter" in warning]) == 1


@pytest.fixture
def job_of_three(content, base_folder, tmp_path):
    """A job with three classes, of which `rare` has 20 examples."""
    rows = [f"{name} word{n},{name}" for name, count in (("neg", 60), ("pos", 60), ("rare", 20)) for n in range(count)]
    (tmp_path / "three.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    made = content(teacher={"path": None, "base": str(base_folder), "epochs": 1}, trainer={"use_cpu": True})
    made["data"] = {"train": str(tmp_path / "three.csv"), "text": "text"}
    return assemble(Recipe.model_validate(made))


def test_a_class_that_is_never_recognised_is_named_first(job_of_three):
    job = job_of_three
    labels = np.repeat([0, 1, 2], [20, 20, 4])
    rare, right = np.eye(3)[np.minimum(labels, 1)], np.eye(3)[labels]
    in_train = int((np.asarray(job.splits["train"]["labels"]) == 2).sum())
    named = f"never recognises 'rare' (4 examples of validation, {in_train} of train): its recall is 0."
    of_teacher = f"The teacher {named} Try another teacher.trainer.learning_rate (now 5e-5"
    for teacher, student, first in (
        (rare, right, [of_teacher]),
        (rare, rare, [of_teacher, f"The student {named} It learned that from its teacher."]),
        (right, rare, [f"The student {named} Try another trainer.learning_rate (now 5e-5; 2e-5 to 4e-4 are usual)"]),
        (None, rare, [of_teacher]),  # a fine-tuning
        (right, right, []),
    ):
        columns = {"label": labels, "student": student} | ({} if teacher is None else {"teacher": teacher})
        models = {name: logits for name, logits in columns.items() if name != "label"}
        scores = {name: score_outputs(labels, logits, scoring=job.scoring) for name, logits in models.items()}
        compared = {"scores": {"validation": scores}}
        warnings = collect_warnings(job, compared, predictions={"validation": columns}, stages=[])
        assert len([warning for warning in warnings if "recall" in warning]) == len(first)
        for warning, expected in zip(warnings, first, strict=False):
            assert warning.startswith(expected)


def test_two_examples_of_a_class_are_no_evidence():
    per_class = {"a": {"recall": 0.0, "rows": 2}, "b": {"recall": 0.0, "rows": 3}, "c": {"recall": 0.5, "rows": 9}}
    assert list_missed_classes({"per_class": per_class, "collapsed": False}) == {"b": 3}
    assert list_missed_classes({"per_class": per_class, "collapsed": True}) == list_missed_classes({}) == {}


def test_a_collapse_is_said_once_at_the_end(job_of_three):
    """The headline says it, and the next step has the advice; before training, it was said of selection."""
    job, labels = job_of_three, np.repeat([0, 1, 2], [20, 20, 4])
    constant = np.tile([1.0, 0.0, 0.0], (len(labels), 1))
    scores = {name: score_outputs(labels, constant, scoring=job.scoring) for name in ("teacher", "student")}
    columns = {"label": labels, "student": constant, "teacher": constant}
    compared = {"scores": {"validation": scores}}
    warnings = collect_warnings(job, compared, predictions={"validation": columns}, stages=[])
    assert not any("predicts" in warning or "recall" in warning for warning in warnings)
    assert "(collapsed)" in str(find_teacher_problem(job, LabelledExamples(labels), constant, split="selection"))


def test_a_loss_that_does_not_fall(content, caplog):
    record = read_record(distill(content(trainer={"learning_rate": 3.0, "max_grad_norm": 0.0, "use_cpu": True})))
    assert "The loss did not fall in stage 'classification' (" in caplog.text
    sentence = "Lower trainer.learning_rate: it is 3, and 2e-5 to 4e-4 are usual."
    assert any(sentence in warning for warning in record.warnings)


def test_a_loss_that_does_not_fall_in_the_only_epoch(content):
    made = content(schedule={"name": "soft_labels", "classification_epochs": 1})
    made["data"].pop("train_rows")
    stage = read_record(distill({**made, "trainer": {**made["trainer"], "per_device_train_batch_size": 8}})).stages[0]
    first, last = stage.thirds
    assert last < first
    record = StageRecord(Stage("one", {"soft_labels": 1.0}, {}, epochs=1))
    record.restore({"learned": True, "thirds": [last, first], "epochs": [epoch.model_dump() for epoch in stage.epochs]})
    assert "in its first third" in list_stage_warnings([record])[0]
    record.restore({"thirds": [first, last]})
    assert list_stage_warnings([record]) == []


def test_a_teacher_whose_label_order_is_swapped(content, swapped_teacher, caplog):
    made = content(
        teacher={"path": str(swapped_teacher), "targets": "live"}, schedule={"name": "soft_labels", "total_steps": 2}
    )
    with pytest.raises(ValueError, match="the teacher's label order seems to be swapped") as refusal:
        distill(made)
    assert str(refusal.value).startswith("teacher: nothing useful can be learned from it. On selection, the teacher's")
    assert "if 'pos' meant 'neg' and 'neg' meant 'pos'. Correct id2label and label2id in its" in str(refusal.value)
    assert "json: the outputs mean 'neg', 'pos', in this order." in str(refusal.value)
    assert "data.labels" not in str(refusal.value)  # the names in config.json win
    made["teacher"]["allow_weak"] = True
    record = read_record(distill(made))
    assert "the teacher's label order seems to be swapped" in caplog.text
    assert "the teacher's label order seems to be swapped" in record.warnings[0]
    assert summarize_run(record)[0].startswith("Nothing can be concluded from this run: the teacher scores 0.")


def find_problem(made):
    job = assemble(Recipe.model_validate(made))
    logits = compute_teacher_logits(job, ["selection"])["selection"]
    return find_teacher_problem(job, LabelledExamples.from_dataset(job.splits["selection"]), logits, split="selection")


def name_outputs(folder, *names):
    """Name the outputs of a model in its config.json."""
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(number): name for number, name in enumerate(names)}
    config["label2id"] = {name: number for number, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("case", ["named", "stock", "stock with f1", "numbers"])
def test_the_advice_on_a_swapped_order_works(case, content, teacher_folder, data_folder, tmp_path):
    """The outputs of the teacher are neg and pos. What is advised is done, and the problem is gone."""
    teacher = tmp_path / "model"
    shutil.copytree(teacher_folder, teacher)
    name_outputs(teacher, *(("pos", "neg") if case == "named" else ("LABEL_0", "LABEL_1")))
    made = content(teacher={"path": str(teacher), "targets": "live"})
    made["data"] |= {"labels": ["pos", "neg"], "metric": "f1" if case == "stock with f1" else "accuracy"}
    if case == "numbers":
        for split in ("train", "validation"):
            text = (data_folder / f"{split}.csv").read_text().replace(",pos", ",0").replace(",neg", ",1")
            (tmp_path / f"{split}.csv").write_text(text)
            made["data"][split] = str(tmp_path / f"{split}.csv")
    problem = find_problem(made)
    other_order = {**made, "data": {**made["data"], "labels": ["neg", "pos"]}}
    if case == "stock":
        assert problem.advice == "Set data.labels=[neg, pos], which is the order of the teacher's outputs."
        assert find_problem(other_order) is None
        return
    assert problem.advice == (
        "Correct id2label and label2id in its config.json: the outputs mean 'neg', 'pos', in this order."
    )
    if case != "stock with f1":
        assert find_problem(other_order) is not None
    name_outputs(teacher, "neg", "pos")
    assert find_problem(made) is None


def test_a_teacher_that_predicts_one_class_stops_the_run_once_it_is_cached(content, base_folder, caplog):
    """A learning rate that is far too high. The stopped run continues from the cached teacher."""
    made = content(schedule={"name": "soft_labels", "total_steps": 2})
    made["teacher"] = {**made["teacher"], "path": None, "base": str(base_folder), "epochs": 1}
    made["teacher"]["trainer"] = {"learning_rate": 5.0, "max_grad_norm": 0.0}
    with pytest.raises(ValueError) as refusal:
        distill(made)
    assert "The teacher predicts" in str(refusal.value) and "(collapsed)" in str(refusal.value)
    assert "Lower teacher.trainer.learning_rate: it is 5, and 2e-5 to 1e-4 are usual." in str(refusal.value)
    assert "teacher.allow_weak=true" in str(refusal.value) and "swapped" not in str(refusal.value)
    assert not Path(made["output"], "run.json").exists()
    caplog.clear()
    made["teacher"]["allow_weak"] = True
    record = read_record(distill(made))
    assert "fine-tuning the teacher" not in caplog.text  # it was cached
    assert not any("predicts" in warning for warning in record.warnings) and list_problems(record)
    assert suggest_next_steps(record)[0].startswith("Lower teacher.trainer.learning_rate: it is 5, and")
    assert "keeps" not in " ".join(summarize_run(record))
    teacher, student = record.scores["validation"].teacher, record.scores["validation"].student
    assert format_share(student.primary, teacher) == "–"


@pytest.mark.parametrize(
    ("divisor", "found"), [(10, "numbers with decimals, such as 0.1"), (1, "25 numbers")], ids=["decimals", "many"]
)
def test_scores_that_are_taken_for_labels(content, base_folder, tmp_path, divisor, found):
    """data.metric was forgotten: every value would be a class of its own. Both ways out work."""
    rows = [f"good{n % 8} bad{n % 5} word{n % 7},{n % 25 / divisor:g}" for n in range(250)]
    (tmp_path / "scores.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    made = content(teacher={"path": None, "base": str(base_folder)})
    made["data"].pop("train_rows")
    made["data"] |= {"train": str(tmp_path / "scores.csv"), "validation": None}
    with pytest.raises(ValueError, match=f"'label' holds {found}. If they are scores, set data.metric=pearson; if"):
        assemble(Recipe.model_validate(made))
    for metric, names in (("pearson", None), ("macro_f1", 25)):
        job = assemble(Recipe.model_validate({**made, "data": {**made["data"], "metric": metric}}))
        assert (job.names and len(job.names)) == names


def test_whole_numbers_are_classes(content, base_folder, tmp_path):
    rows = [f"good{n % 8} bad{n % 5} word{n % 7},{n % 20}.0" for n in range(250)]
    (tmp_path / "classes.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    made = content(teacher={"path": None, "base": str(base_folder)})
    made["data"] |= {"train": str(tmp_path / "classes.csv"), "validation": None}
    assert len(assemble(Recipe.model_validate(made)).names) == 20


def test_a_tokenizer_of_another_model(content, teacher_folder, data_folder, tmp_path, caplog):
    other = tmp_path / "other"
    shutil.copytree(teacher_folder, other)
    state = json.loads((other / "tokenizer.json").read_text())
    state["model"]["vocab"] = {
        word: 0 if word == "[PAD]" else index + 900 for word, index in state["model"]["vocab"].items()
    }
    (other / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match=r"gives the token id 9\d\d \('\w+'\), but the model has only 128 tokens"):
        distill(content(teacher={"path": str(other)}))
    lines = (data_folder / "train.csv").read_text().splitlines()
    (tmp_path / "foreign.csv").write_text("\n".join([lines[0], *(line.replace("word", "wort") for line in lines[1:])]))
    made = content()
    made["data"] = {**made["data"], "train": str(tmp_path / "foreign.csv")}
    record = read_record(distill(made))
    assert "of the tokens of train are unknown to the tokenizer" in caplog.text
    assert any("of the tokens of train are unknown" in warning for warning in record.warnings)


def test_validation_rows_that_are_in_train(content, data_folder, tmp_path):
    held = (data_folder / "train.csv").read_text().splitlines()
    (tmp_path / "held.csv").write_text("\n".join(held[:21]))
    made = content()
    made["data"] = {**made["data"], "validation": str(tmp_path / "held.csv")}
    warnings = read_record(distill(made)).warnings
    assert (
        "20 examples of validation are also in train, word for word; data.drop_overlap=true leaves them out."
        in warnings
    )


def test_selection_rows_that_are_in_train_or_validation(content, data_folder, tmp_path):
    header, *train = (data_folder / "train.csv").read_text().splitlines()
    _, *validation = (data_folder / "validation.csv").read_text().splitlines()
    (tmp_path / "tuning.csv").write_text("\n".join([header, *train[:3], *validation[:20]]))
    made = content()
    made["data"] = {**made["data"], "train_rows": None, "selection": str(tmp_path / "tuning.csv")}
    record = read_record(distill(made))
    assert record.data.rows == {"train": len(train), "selection": 23, "validation": len(validation)}
    assert [warning for warning in record.warnings if "of selection are also" in warning] == [
        "3 examples of selection are also in train, word for word; data.drop_overlap=true leaves them out.",
        "20 examples of selection are also in validation, word for word; what is chosen on them is not judged by fresh "
        "examples.",
    ]
    assert "A tenth" not in record.data.selection and "tuning.csv" in record.data.selection


def test_a_rare_class_that_is_not_in_validation(content, base_folder, data_folder, tmp_path, caplog):
    """Its label is also that of another class, but for a space: said before training, and in the record."""
    lines = (data_folder / "train.csv").read_text().splitlines()
    (tmp_path / "rare.csv").write_text("\n".join([*lines, "good1 word1,pos ", "good2 word2,pos "]))
    made = content(schedule={"name": "soft_labels", "total_steps": 2})
    made["data"] |= {"train": str(tmp_path / "rare.csv")}
    made["teacher"] |= {"path": None, "base": str(base_folder), "epochs": 1, "allow_weak": True}
    warnings = read_record(distill(made)).warnings
    for sentence in (
        "The class 'pos ' has no example in validation, so its score is unknown: macro F1 is over 2 of 3 classes.",
        "are different classes: 'pos' (",
    ):
        assert sentence in caplog.text and any(sentence in warning for warning in warnings)


def test_a_sound_run_is_silent(content, caplog):
    made = content(schedule={"name": "soft_labels", "classification_epochs": 6})
    made["data"].pop("train_rows")
    assert read_record(distill(made)).warnings == []
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
