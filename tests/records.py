"""A complete record of a small run, and a run that has nothing else, for tests that need them without a run."""

import numpy as np

from innerdistill.evaluation.answers import Answers
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.record import RunRecord
from innerdistill.report.stored_run import StoredRun

SPEED = {
    "parameters": 2_000_000,
    "parameters_without_embeddings": 1_000_000,
    "file_bytes": 8_000_000,
    "batch_size": 1,
    "length": 12,
    "latency_ms": {"p20": 1.0, "p50": 1.5, "p80": 2.0},
}
STAGE = {
    "stage": {
        "name": "classification",
        "losses": {"soft_labels": 1.0},
        "pairs": {},
        "epochs": 1.0,
        "steps": None,
        "threshold": None,
        "is_internal": False,
    },
    "ended": "epochs done",
    "steps": 6,
    "seconds": 1.0,
    "cpu_seconds": 1.0,
    "learned": True,
    "thirds": [],
    "epochs": [{"epoch": 1.0, "steps": 6, "losses": {"loss": 0.5, "soft_labels": 0.5}, "scores": {"accuracy": 0.8}}],
}


def make_scores(accuracy, **changes):
    """Scores of a model with two classes."""
    per_class = {name: {"precision": accuracy, "recall": accuracy, "rows": 50} for name in ("neg", "pos")}
    scores = {"metric": "accuracy", "rows": 100, "accuracy": accuracy, "macro_f1": accuracy - 0.01, "constant": 0.5}
    return {
        **scores,
        "collapsed": False,
        "calibration_error": 0.05,
        "per_class": per_class,
        "standard_error": 0.03,
    } | changes


def make_record(recipe=None, **changes):
    """A record of a student with 2 of 4 layers."""
    agreement = {"equal_predictions": 0.9, "teacher_right_student_right": 80, "teacher_right_student_wrong": 10}
    agreement |= {"teacher_wrong_student_right": 5, "teacher_wrong_student_wrong": 5}
    distance = {2: {"teacher_layer": 4, "attention_kl": 0.5, "cls_cosine": 0.1}}
    content = {
        "recipe": Recipe.model_validate({"data": {"text": "text"}, **(recipe or {})}),
        "versions": {"transformers": "5.0", "torch": "2.0"},
        "machine": "Linux x86_64, AVX2, 1 of 2 cores",
        "git_revision": None,
        "data": {
            "rows_read": {"train": 220, "validation": 100},
            "rows": {"train": 200, "selection": 20, "validation": 100},
            "selection": "a part of train",
            "validation_rows_that_are_also_in_train": 0,
            "problem_type": "single_label_classification",
            "metric": "accuracy",
            "names": ["neg", "pos"],
            "max_length": 32,
            "truncated": {"train": 0},
            "fingerprint": "d" * 64,
        },
        "teacher": {
            "path": "teachers/one",
            "layers": 4,
            "fingerprint": "t" * 64,
            "targets": {"cached": {"logits": 800}, "precision_live": "float32"},
        },
        "student": {"layers": 2, "start": "s" * 64},
        "layer_map": {2: 4},
        "stages": [STAGE],
        "scores": {
            split: {"student": make_scores(0.8), "teacher": make_scores(0.9)} for split in ("selection", "validation")
        },
        "agreement": dict.fromkeys(("selection", "validation"), agreement),
        "speed": {"student": SPEED, "teacher": SPEED},
        "warnings": [],
        "distances": {"before": distance, "after": distance},
    }
    return RunRecord.model_validate(content | changes)


class MemoryRun(StoredRun):
    """A run whose record is given, and whose predictions may be."""

    record = content = place = baseline = has_predictions = is_finished = read_table = None

    def __init__(self, record, columns=None):
        self.record, self.place, self.folder, self.columns = record, "memory", None, columns

    def read_predictions(self, split):
        return self.columns


def set_value(content, dotted, value):
    """Set one value of a parsed run.json by its place, such as `scores.validation.student.accuracy`."""
    *parents, last = dotted.split(".")
    for parent in parents:
        content = content[parent]
    content[last] = value


def make_answers(*accuracies, examples=1000):
    """Answers of a unit's runs to examples of two classes; each run is right on the first ones and wrong on the rest."""
    labels = np.arange(examples) % 2
    right = np.arange(examples) < np.round(np.array(accuracies)[:, None] * examples)
    return Answers(np.where(right, labels, 1 - labels), right.astype(float))
