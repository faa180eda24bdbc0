"""The contrastive loss in whole runs: pairs and triples stay together in batches, resume, caches, and what is refused."""

import csv

import numpy as np
import pytest
from conftest import tiny_model
from sentence_models import make_modules, write_sentence_model

from innerdistill import distill
from innerdistill.data.batches import LengthGroupedSampler
from innerdistill.data.windows import EXAMPLE, TEXT_NUMBER
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.pretrained import load_classifier
from innerdistill.problem_types.sentence_similarity import SENTENCE_SIMILARITY
from innerdistill.recipe.loading import load_recipe
from innerdistill.report.run_folder import read_record
from innerdistill.run.assemble import assemble

LOSSES = {"multiple_negatives": 1.0}


@pytest.fixture(scope="module")
def files(tmp_path_factory, sentences, tokenizer):
    folder = tmp_path_factory.mktemp("contrast")
    write_sentence_model(folder / "teacher", tiny_model(layers=4, seed=3).base_model, tokenizer, *make_modules())
    texts = list(dict.fromkeys(text for text, _ in sentences))
    rows = [[text, f"{text} {text.split()[0]}", other] for text, other in zip(texts[:90], texts[90:180], strict=True)]
    for row in rows[1:30:3]:
        row[1] = rows[0][1]  # equal texts
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["question", "answer", "wrong"], *rows])
    return folder


@pytest.fixture(scope="module")
def make_recipe(files):
    def make(output, *, texts=("question", "answer"), losses=LOSSES, teacher=(), trainer=(), schedule=()):
        return {
            "data": {"train": str(files / "pairs.csv"), "text": list(texts)},
            "teacher": {"path": str(files / "teacher"), "folder": str(files / "cache"), **dict(teacher)},
            "losses": losses,
            "schedule": dict(schedule) or {"total_steps": 24},
            "trainer": {"per_device_train_batch_size": 12, "learning_rate": 1e-3, "use_cpu": True, **dict(trainer)},
            "checkpoint_minutes": 0,
            "output": str(files / output),
        }

    return make


def load_student(run):
    return load_classifier(str(run.folder / "model"), SENTENCE_SIMILARITY.head)


@pytest.mark.parametrize("texts", [("question", "answer"), ("question", "answer", "wrong")], ids=["pairs", "triples"])
def test_the_texts_of_an_example_are_always_in_one_batch(make_recipe, texts):
    job = assemble(load_recipe(make_recipe("planned", texts=texts)))
    train, width = job.select_student_examples(), len(texts)
    examples, numbers = (np.array(train[name]) for name in (EXAMPLE, TEXT_NUMBER))
    assert np.bincount(examples)[1:].tolist() == [width] * (len(train) // width)
    assert len(np.unique(numbers)) < len(numbers)  # equal texts have the same number
    sampler = LengthGroupedSampler(np.array(train["length"]), batch_size=24, seed=1, queries=examples)
    order = np.array([index for epoch in (0, 1) for index in (sampler.set_epoch(epoch), list(sampler))[1]])
    for batch in order.reshape(-1, 12):  # two micro-batches of a step
        assert set(np.bincount(examples[batch])) == {0, width}
    batch = job.collate([train[index] for index in order[:12].tolist()])
    assert batch["parts"].shape == (12, 3) and batch["parts"][:, 1].tolist() == [*range(width)] * (12 // width)
    assert EXAMPLE not in job.splits["train"].column_names


def test_a_student_learns_from_pairs_and_from_its_teacher(make_recipe):
    losses = {"multiple_negatives": 0.5, "embedding_cosine": 1.0}
    schedule = {"epochs_per_layer": 1, "classification_epochs": 4}
    run = distill(make_recipe("pairs", losses=losses, schedule=schedule))
    stage = read_record(run.folder).stages[-1]
    assert stage.stage.losses == losses and stage.learned
    (epoch, *_), last = stage.epochs, stage.epochs[-1]
    assert last.losses["multiple_negatives"] < epoch.losses["multiple_negatives"]
    assert {"token_cosine", "attention_kl"} == set(read_record(run.folder).stages[0].stage.losses)
    with_negatives = distill(make_recipe("triples", texts=("question", "answer", "wrong")))
    assert read_record(with_negatives.folder).stages[-1].learned


def test_a_run_without_the_loss_has_the_order_that_it_had(make_recipe):
    job = assemble(load_recipe(make_recipe("planned", losses={})))
    assert job.select_student_examples() is job.splits["train"]


def test_a_stopped_run_ends_with_the_same_student(make_recipe, kill_after):
    options = {"trainer": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 6}}
    whole = distill(make_recipe("whole", **options))
    with kill_after(30):
        distill(make_recipe("killed", **options))
    resumed = distill(make_recipe("killed", **options))
    assert weights_fingerprint(load_student(resumed)) == weights_fingerprint(load_student(whole))


def test_cached_and_live_teacher_outputs_are_learned_alike(make_recipe):
    losses = {**LOSSES, "embedding_cosine": 1.0}
    records = []
    for targets in ("cache", "live"):
        teacher = {"targets": targets, "precision": "float32"}
        run = distill(make_recipe(f"{targets} run", losses=losses, teacher=teacher))
        records.append(read_record(run.folder))
    cached, live = records
    assert cached.teacher.targets != live.teacher.targets
    for one, other in zip(cached.stages[-1].epochs, live.stages[-1].epochs, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-3)  # the cache rounds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": ["question"]}, "losses.multiple_negatives: it compares pairs of texts; name their two columns"),
        (
            {"trainer": {"per_device_train_batch_size": 7}},
            "trainer.per_device_train_batch_size: 7 texts are not two or",
        ),
        ({"trainer": {"per_device_train_batch_size": 2}}, "choose a multiple of 2, at least 4"),
        (
            {"texts": ["question", "answer", "wrong"], "trainer": {"per_device_train_batch_size": 8}},
            "a multiple of 3, at",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(make_recipe, files, changes, message):
    with pytest.raises(ValueError, match=message):
        distill(make_recipe("refused", **changes))
    assert not (files / "refused").exists()


def test_three_texts_are_for_sentence_encoders(make_recipe, teacher_folder):
    content = make_recipe("refused", texts=("question", "answer", "wrong"), losses={})
    content["teacher"]["path"] = str(teacher_folder)
    with pytest.raises(ValueError, match="data.text: three columns are for sentence encoders"):
        distill(content)
