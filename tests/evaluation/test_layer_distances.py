"""How much a teacher's [CLS] differs between examples, and measuring that changes nothing."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from innerdistill.data.batches import make_collator
from innerdistill.evaluation.layer_distances import (
    ClsSpread,
    compute_mean_distance,
    measure_layer_distances,
)
from innerdistill.models.probe import probe
from innerdistill.models.student import build_student
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage


def measure_spread(model, rows, collate, **options):
    student = build_student(model, 1)
    for either in (model, student):
        probe(either)
    spread = ClsSpread(4)
    measure_layer_distances(model, student, rows, collate, pairs={1: 2}, spread=spread, **options)
    return spread.compute()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 2**20), st.sampled_from([1.0, 1e-2, 1e-5]))
def test_the_closed_form_is_the_mean_over_all_pairs(count, size, seed, noise):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=size) + noise * generator.normal(size=(count, size))
    unit = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=-1)
    wanted = pdist(vectors, "cosine").mean()
    assert compute_mean_distance(unit.sum(0), count) == pytest.approx(wanted, rel=1e-4, abs=1e-14)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_the_spread_equals_that_of_all_pairs_in_transformers(make_model, tokenizer, tokenised, family):
    model = make_model(family)
    collate = make_collator(tokenizer)
    wanted = {}
    columns = ["input_ids", "attention_mask"]
    padded = collate([{name: row[name] for name in columns} for row in tokenised])
    with torch.no_grad():
        states = model(**padded, output_hidden_states=True).hidden_states
    for layer in range(1, 4):  # some families put the norm behind the last one into the last state
        wanted[str(layer)] = pdist(states[layer][:, 0].double().numpy(), "cosine").mean()
    rows = tokenised.select_columns([*columns, "labels", "length"])
    spread = measure_spread(model, rows, collate, batch_size=8)
    assert list(spread) == ["1", "2", "3", "4"]
    assert {layer: spread[layer] for layer in wanted} == pytest.approx(wanted, rel=1e-4)


def test_the_same_cls_for_every_example_has_no_spread(make_model, tokenizer, tokenised):
    model = make_model()
    with torch.no_grad():
        for layer in model.bert.encoder.layer:  # no token looks at another one
            layer.attention.self.value.weight.zero_()
    assert max(measure_spread(model, tokenised, make_collator(tokenizer)).values()) < 1e-6
    assert measure_spread(model, tokenised.select([0]), make_collator(tokenizer)) is None


def test_measuring_changes_neither_mode_nor_random_numbers(make_model, tokenizer, tokenised):
    teacher, collate = make_model(), make_collator(tokenizer)
    student = build_student(teacher, 2)
    for model in (teacher, student):
        probe(model)
    student.train()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    measure_layer_distances(teacher, student, tokenised, collate, pairs={1: 2}, spread=ClsSpread(4))
    assert student.training and not teacher.training
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())


def test_stages_are_measured_and_the_student_stays_identical(make_model, tokenizer, tokenised, tmp_path):
    teacher, collate = make_model(), make_collator(tokenizer)
    pairs = {1: 2, 2: 4}
    stages = [Stage(f"layer {k}", {"attention_kl": 1.0, "cls_cosine": 1.0}, {k: pairs[k]}, steps=9) for k in pairs]
    stages.append(Stage("last", {"soft_labels": 1.0}, {}, steps=9))
    calls, students = [], []

    def measure(student):
        calls.append({name: value.clone() for name, value in student.state_dict().items()})
        return {"teacher": measure_layer_distances(teacher, student, tokenised, collate, pairs=pairs)}

    for function in (None, measure):
        student = build_student(teacher, 2)
        setup = TrainingSetup(
            train=tokenised,
            collate=collate,
            measure=function,
            trainer={"use_cpu": True, "per_device_train_batch_size": 8},
        )
        records = distill_models(teacher, student, stages=stages, setup=setup, folder=tmp_path)
        students.append(student.state_dict())
        if function is None:
            assert [record.distances for record in records] == [None, None, None]
    assert all(torch.equal(students[0][name], students[1][name]) for name in students[0])
    assert len(calls) == 3 and all(torch.equal(calls[-1][name], students[1][name]) for name in students[1])
    for record, weights in zip(records, calls, strict=True):
        student.load_state_dict(weights)
        again = measure_layer_distances(teacher, student, tokenised, collate, pairs=pairs)
        assert record.distances == {"teacher": again}
    distances = [record.distances["teacher"] for record in records]
    assert distances[0]["1"]["attention_kl"] != distances[1]["1"]["attention_kl"]
