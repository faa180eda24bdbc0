import pytest

from innerdistill.recipe.recipe import ScheduleRecipe
from innerdistill.training.schedules import BASELINE, SCHEDULES, Schedule, SchedulePlan, build_stages

PAIRS = {1: 2, 2: 4, 3: 6}
INTERNAL = {"attention_kl": 1.0, "cls_cosine": 1.0}


def plan(internal=INTERNAL, classification=None, **recipe):
    return SchedulePlan(PAIRS, internal, classification or {"soft_labels": 1.0}, ScheduleRecipe(**recipe))


def test_sid_stacks_the_layers():
    stages = build_stages(plan(name="sid", epochs_per_layer=3, classification_epochs=4))
    assert [dict(stage.pairs) for stage in stages] == [{1: 2}, {1: 2, 2: 4}, PAIRS, {}]
    assert [stage.epochs for stage in stages] == [3, 3, 3, 4]
    assert [dict(stage.losses) for stage in stages] == [INTERNAL] * 3 + [{"soft_labels": 1.0}]


def test_pid_takes_one_layer_at_a_time():
    stages = build_stages(plan(name="pid"))
    assert [dict(stage.pairs) for stage in stages] == [{1: 2}, {2: 4}, {3: 6}, {}]


def test_all_layers_gets_the_same_internal_epochs_as_sid():
    stages = build_stages(plan(name="all_layers", epochs_per_layer=3))
    assert [(dict(stage.pairs), stage.epochs) for stage in stages] == [(PAIRS, 9), ({}, 3)]


def test_finetune_uses_gold_labels_only():
    (stage,) = build_stages(plan(name="finetune"))
    assert dict(stage.losses) == {"gold_labels": 1.0}


def test_soft_and_gold_together():
    (stage,) = build_stages(plan(name="soft_labels", classification={"soft_labels": 1.0, "gold_labels": 0.5}))
    assert dict(stage.losses) == {"soft_labels": 1.0, "gold_labels": 0.5}


@pytest.mark.parametrize("total", [12, 100, 601])
@pytest.mark.parametrize("name", SCHEDULES)
def test_protocol_a_gives_every_method_the_same_steps(name, total):
    stages = build_stages(plan(name=name, total_steps=total))
    internal = sum(stage.steps for stage in stages if stage.is_internal)
    assert all(stage.epochs is None for stage in stages)
    assert sum(stage.steps for stage in stages) == total
    assert internal == 0 or abs(internal - total / 2) <= len(PAIRS)


def test_classification_at_all_times():
    stages = build_stages(plan(name="pid", classification_always=True))
    assert all("soft_labels" in stage.losses for stage in stages)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "sdi"}, "Did you mean 'sid'"),
        (
            {"name": "sid", "threshold": 0.1, "internal": {"attention_kl": 1.0}},
            "needs losses.cls_cosine or losses.token_cosine",
        ),
        ({"name": "soft_labels", "threshold": 0.1}, "'soft_labels' has no internal stage"),
        ({"name": "joint", "threshold": 0.1}, "'joint' has no internal stage"),
        ({"name": "finetune", "threshold": 0.1}, "'finetune' has no internal stage"),
        ({"name": "sid", "total_steps": 5}, "5 steps are too few for 3 mapped layers; at least 6"),
        ({"name": "pid", "internal": {}}, "needs an internal loss"),
    ],
)
def test_what_cannot_be_scheduled(changes, message):
    with pytest.raises(ValueError, match=message):
        build_stages(plan(**changes))


@pytest.mark.parametrize(
    ("internal", "cosine"),
    [
        (INTERNAL, "cls_cosine"),
        ({"token_cosine": 1.0}, "token_cosine"),
        ({"token_cosine": 1.0, **INTERNAL}, "cls_cosine"),
    ],
)
def test_a_threshold_is_compared_with_the_cosine_that_is_on(internal, cosine):
    stages = build_stages(plan(name="pid", threshold=0.1, internal=internal))
    assert {stage.cosine for stage in stages if stage.is_internal} == {cosine} and stages[-1].cosine is None


def test_a_student_needs_a_classification_loss():
    with pytest.raises(ValueError, match="losses.soft_labels or losses.gold_labels"):
        build_stages(SchedulePlan(PAIRS, INTERNAL, {}, ScheduleRecipe(name="sid")))


@pytest.mark.parametrize("name", SCHEDULES)
def test_contract(name):
    """Every entry of SCHEDULES ends with classification of the whole student."""
    stages = build_stages(plan(name=name))
    assert not stages[-1].is_internal and {"soft_labels", "gold_labels"} & set(stages[-1].losses)
    assert all(stage.is_internal and stage.pairs for stage in stages[:-1])
    assert len({stage.name for stage in stages}) == len(stages)


@pytest.mark.parametrize("name", SCHEDULES)
def test_traits_say_what_the_stages_do(name):
    schedule, stages = SCHEDULES[name], build_stages(plan(name=name))
    assert schedule.has_internal_stages == any(stage.is_internal for stage in stages)
    assert schedule.compares_layers == any(stage.pairs for stage in stages)
    assert schedule.reads_teacher == any({"soft_labels", *INTERNAL} & set(stage.losses) for stage in stages)


def test_the_baseline_learns_from_gold_labels_alone():
    assert not SCHEDULES[BASELINE].reads_teacher
    (stage,) = build_stages(SchedulePlan({}, {}, {}, ScheduleRecipe(name=BASELINE, total_steps=7)))
    assert (stage.losses, stage.pairs, stage.epochs, stage.steps) == ({"gold_labels": 1.0}, {}, None, 7)


def soft_then_gold(plan):
    """Soft labels first, then gold labels: a schedule without internal stages."""
    return [
        plan.build_classification_stage(
            {name: 1.0}, steps=plan.recipe.total_steps and plan.recipe.total_steps // 2, name=name
        )
        for name in ("soft_labels", "gold_labels")
    ]


def test_a_schedule_of_classification_alone_plans(monkeypatch):
    """No internal loss, no mapped layer, fewer steps than layers: nothing of an internal stage is asked of it."""
    schedule = Schedule(soft_then_gold, has_internal_stages=False, compares_layers=False)
    monkeypatch.setitem(SCHEDULES, "soft_then_gold", schedule)
    stages = build_stages(SchedulePlan({}, {}, {"soft_labels": 1.0}, ScheduleRecipe(name="soft_then_gold")))
    assert [(stage.name, stage.epochs, stage.is_internal) for stage in stages] == [
        ("soft_labels", 3, False),
        ("gold_labels", 3, False),
    ]
    assert [stage.steps for stage in build_stages(plan(name="soft_then_gold", total_steps=4))] == [2, 2]
    with pytest.raises(ValueError, match="'soft_then_gold' has no internal stage"):
        build_stages(plan(name="soft_then_gold", threshold=0.1))


def test_traits_that_are_not_true_are_refused(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "mine", Schedule(SCHEDULES["pid"].function, has_internal_stages=False))
    with pytest.raises(ValueError, match="'mine' has internal stages; register it with has_internal_stages=True"):
        build_stages(plan(name="mine"))
    for traits in ({"compares_layers": False}, {"has_internal_stages": False, "reads_teacher": False}):
        with pytest.raises(ValueError, match="a schedule "):
            Schedule(soft_then_gold, **traits)
