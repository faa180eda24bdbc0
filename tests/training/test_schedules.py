import pytest

from innerdistill.recipe.recipe import ScheduleRecipe
from innerdistill.training.schedules import SCHEDULES, SchedulePlan, make_stages

PAIRS = {1: 2, 2: 4, 3: 6}
INTERNAL = {"attention_kl": 1.0, "cls_cosine": 1.0}


def plan(internal=INTERNAL, classification=None, **recipe):
    return SchedulePlan(PAIRS, internal, classification or {"soft_labels": 1.0}, ScheduleRecipe(**recipe))


def test_sid_stacks_the_layers():
    stages = make_stages(plan(name="sid", epochs_per_layer=3, classification_epochs=4))
    assert [dict(stage.pairs) for stage in stages] == [{1: 2}, {1: 2, 2: 4}, PAIRS, {}]
    assert [stage.epochs for stage in stages] == [3, 3, 3, 4]
    assert [dict(stage.losses) for stage in stages] == [INTERNAL] * 3 + [{"soft_labels": 1.0}]


def test_pid_takes_one_layer_at_a_time():
    stages = make_stages(plan(name="pid"))
    assert [dict(stage.pairs) for stage in stages] == [{1: 2}, {2: 4}, {3: 6}, {}]


def test_all_layers_gets_the_same_internal_epochs_as_sid():
    stages = make_stages(plan(name="all_layers", epochs_per_layer=3))
    assert [(dict(stage.pairs), stage.epochs) for stage in stages] == [(PAIRS, 9), ({}, 3)]


def test_finetune_uses_gold_labels_only():
    (stage,) = make_stages(plan(name="finetune"))
    assert dict(stage.losses) == {"gold_labels": 1.0}


def test_soft_and_gold_together():
    (stage,) = make_stages(plan(name="soft_labels", classification={"soft_labels": 1.0, "gold_labels": 0.5}))
    assert dict(stage.losses) == {"soft_labels": 1.0, "gold_labels": 0.5}


@pytest.mark.parametrize("total", [12, 100, 601])
@pytest.mark.parametrize("name", SCHEDULES)
def test_protocol_a_gives_every_method_the_same_steps(name, total):
    stages = make_stages(plan(name=name, total_steps=total))
    internal = sum(stage.steps for stage in stages if stage.is_internal)
    assert all(stage.epochs is None for stage in stages)
    assert sum(stage.steps for stage in stages) == total
    assert internal == 0 or abs(internal - total / 2) <= len(PAIRS)


def test_classification_at_all_times():
    stages = make_stages(plan(name="pid", classification_always=True))
    assert all("soft_labels" in stage.losses for stage in stages)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "sdi"}, "did you mean 'sid'"),
        ({"name": "sid", "threshold": 0.1, "internal": {"attention_kl": 1.0}}, "CLS cosine"),
        ({"name": "soft_labels", "threshold": 0.1}, "CLS cosine"),
        ({"name": "finetune", "threshold": 0.1}, "no internal stage"),
        ({"name": "pid", "internal": {}}, "needs an internal loss"),
    ],
)
def test_what_cannot_be_scheduled(changes, message):
    with pytest.raises(ValueError, match=message):
        make_stages(plan(**changes))


def test_a_student_needs_a_classification_loss():
    with pytest.raises(ValueError, match="losses.soft_labels or losses.gold_labels"):
        make_stages(SchedulePlan(PAIRS, INTERNAL, {}, ScheduleRecipe(name="sid")))


@pytest.mark.parametrize("name", SCHEDULES)
def test_contract(name):
    """Every entry of SCHEDULES ends with classification of the whole student."""
    stages = make_stages(plan(name=name))
    assert not stages[-1].is_internal and {"soft_labels", "gold_labels"} & set(stages[-1].losses)
    assert stages[-1].name == ("joint" if name == "joint" else "classification")
    assert bool(stages[-1].pairs) == (name == "joint")
    assert all(stage.is_internal and stage.pairs for stage in stages[:-1])
    assert len({stage.name for stage in stages}) == len(stages)
