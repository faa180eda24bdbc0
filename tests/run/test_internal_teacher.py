"""The control: internal losses that learn from another model than the soft labels do."""

import shutil

import numpy as np
import pytest
import torch
from conftest import tiny_model
from safetensors.numpy import load_file
from transformers import AutoModel, AutoModelForSequenceClassification

from innerdistill import distill, load_recipe
from innerdistill.cli.plan_printing import print_plan
from innerdistill.data.batches import LengthGroupedSampler, make_collator
from innerdistill.evaluation.layer_distances import measure_layer_distances
from innerdistill.losses.loss import collect_needs
from innerdistill.losses.registry import LOSSES
from innerdistill.models.probe import probe
from innerdistill.models.student import build_student
from innerdistill.recipe.identity import compute_teacher_key, list_differences, select_shared_keys
from innerdistill.report.page import write_report
from innerdistill.report.run_folder import read_record
from innerdistill.run.assemble import assemble
from innerdistill.run.cost import estimate_stage_costs
from innerdistill.run.preview import describe_run
from innerdistill.run.teacher_cache import choose_cached_parts, load_targets
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage
from innerdistill.training.targets import Targets


@pytest.fixture
def content(recipe, teacher_folder, tmp_path):
    """SID on 96 examples, in 12 steps."""

    def make(name, *, teacher=None, **changes):
        made = recipe(tmp_path / name, data={"train_rows": 96}, **{"schedule": {"total_steps": 12}, **changes})
        folder = str(tmp_path / "teachers")
        made["teacher"] = {"path": str(teacher_folder), "folder": folder, "targets": "cache"} | (teacher or {})
        return made

    return make


@pytest.fixture
def copy(teacher_folder, tmp_path):
    """The teacher in another folder."""
    return str(shutil.copytree(teacher_folder, tmp_path / "copy"))


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


def list_losses(run):
    return [epoch.losses["loss"] for stage in read_record(run).stages for epoch in stage.epochs]


@pytest.mark.parametrize("targets", ["cache", "live"])
@pytest.mark.parametrize("always", [False, True])
def test_a_copy_of_the_teacher_gives_the_identical_student(content, copy, targets, always):
    schedule = {"total_steps": 12, "classification_always": always}
    usual = distill(content("usual", teacher={"targets": targets}, schedule=schedule))
    copied = distill(content("copied", teacher={"targets": targets, "internal": copy}, schedule=schedule))
    if targets == "live" and always:  # [CLS] alone, or of a whole pass for the logits: some CPUs round one otherwise
        ours, theirs = (list_losses(run) for run in (copied, usual))
        assert ours == pytest.approx(theirs, rel=1e-3)
    else:
        assert weights(copied) == weights(usual)
    record = read_record(copied)
    assert record.internal_teacher.path == copy and record.internal_teacher.layers == 4
    assert read_record(usual).internal_teacher is None
    assert record.teacher.targets == read_record(usual).teacher.targets  # the same parts, whichever folder has them


def test_another_model_gives_another_student_and_page_and_card_name_it(content, base_folder):
    folders = [
        distill(content(name, teacher={"internal": internal}))
        for name, internal in (("usual", "teacher"), ("control", str(base_folder)))
    ]
    assert weights(folders[0]) != weights(folders[1])
    usual, control = map(read_record, folders)
    assert usual.distances.before == control.distances.before != control.internal_distances.before  # of one teacher
    assert usual.internal_distances is None and usual.teacher.cls_spread == control.teacher.cls_spread
    assert set(control.internal_teacher.cls_spread) == {1, 2, 3, 4} and min(usual.teacher.cls_spread.values()) > 0
    assert control.internal_teacher.cls_spread != control.teacher.cls_spread
    for layer, before in control.internal_distances.before.items():
        after = control.internal_distances.after[layer]
        assert after.attention_kl < before.attention_kl
    for record in (usual, control):
        assert all("teacher" in stage.distances for stage in record.stages)
        last = record.stages[-1].distances["teacher"]  # on selection, where `after` is on validation
        assert last.keys() == record.distances.after.keys()
        for layer, after in record.distances.after.items():
            assert last[layer].attention_kl == pytest.approx(after.attention_kl, rel=0.5)
    sentence = f"Its internal losses learned from {base_folder}, not from the teacher."
    assert sentence in write_report(folders[1]).read_text()
    assert str(base_folder) in (folders[1] / "model" / "README.md").read_text()
    assert "internal losses learned" not in write_report(folders[0]).read_text()


def describe_independently(folder, head, inputs):
    """Attention maps and [CLS] of every layer as transformers' own eager attention computes them."""
    model = (AutoModelForSequenceClassification if head else AutoModel).from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float64
    )
    with torch.no_grad():
        output = model.eval()(**inputs, output_attentions=True, output_hidden_states=True)
    return output.attentions, [hidden[:, 0] for hidden in output.hidden_states[1:]]


def compute_kl(teacher, student, mask):
    """Mean over heads and rows of real tokens of sum p log(p / q), for one example after the other."""
    values = []
    for theirs, ours, real in zip(teacher, student, mask.bool(), strict=True):
        p, q = (maps[:, real][:, :, real] for maps in (theirs, ours))
        values.append((p * (p / q).log()).sum(-1).mean())
    return torch.stack(values).mean()


def test_the_first_step_learns_from_the_pre_trained_model(recipe, tokenizer, tmp_path):
    """Of a run whose teacher is fine-tuned from `teacher.base`, against plain transformers."""
    base = tmp_path / "base"
    tiny_model(dropout=0.0, seed=3).base_model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    made = recipe(tmp_path / "run", schedule={"name": "all_layers", "total_steps": 2}, data={"train_rows": 96})
    made["layer_map"] = {2: 4}
    made["teacher"] = {
        "base": str(base), "internal": "base", "epochs": 1, "folder": str(tmp_path / "teachers"), "allow_weak": True,
        "targets": "live", "precision": "float32",
    }  # fmt: skip
    record = read_record(distill(made))
    assert record.internal_teacher.path == str(base) != record.teacher.path
    job = assemble(
        load_recipe(
            {**made, "teacher": {**made["teacher"], "base": None, "path": record.teacher.path, "internal": str(base)}}
        )
    )
    job.build_fresh_student().save_pretrained(tmp_path / "student")
    train = job.splits["train"]
    rows = LengthGroupedSampler(train["length"], batch_size=16, seed=1).rows_of(1)
    batch = make_collator(tokenizer)([train[row] for row in rows])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    mask = batch["attention_mask"]
    losses = record.stages[0].epochs[0].losses
    assert record.stages[0].steps == 1
    ours, our_cls = describe_independently(tmp_path / "student", True, inputs)
    for folder, agrees in ((base, True), (record.teacher.path, False)):
        theirs, their_cls = describe_independently(folder, not agrees, inputs)
        cosine = 1 - torch.nn.functional.cosine_similarity(their_cls[3], our_cls[1], dim=-1).mean()
        wanted = [float(compute_kl(theirs[3], ours[1], mask)), float(cosine)]
        assert ([losses["attention_kl/2"], losses["cls_cosine/2"]] == pytest.approx(wanted, rel=1e-3)) == agrees


def test_cached_equals_live(content, base_folder):
    internal = {"internal": str(base_folder), "precision": "float32"}
    records, students = [], []
    for targets in ("cache", "live"):
        folder = distill(content(targets, teacher={**internal, "targets": targets}))
        records.append(read_record(folder))
        students.append(load_file(folder / "model" / "model.safetensors"))
    for cached, live in zip(*(record.stages for record in records), strict=True):
        assert cached.epochs[-1].losses == pytest.approx(live.epochs[-1].losses, rel=1e-3)
    for name in students[0]:
        # A key's bias moves no distribution, so its gradient is rounding alone, which Adam makes steps of.
        assert name.endswith("key.bias") or students[0][name] == pytest.approx(students[1][name], abs=2e-3), name
    assert set(records[0].teacher.targets.cached) == {
        "logits", *(f"layer_{m:02d}_{kind}" for m in (2, 4) for kind in ("cls", "attention", "entropy"))
    }  # fmt: skip
    assert records[1].teacher.targets.cached == {}


def test_the_classification_stage_is_that_of_the_teacher(content, base_folder, tmp_path):
    """Logits are the teacher's, layers the other model's, live and cached, each from its own store."""
    made = content("run", teacher={"internal": str(base_folder), "precision": "float32"})
    made["schedule"] |= {"classification_always": True}
    job = assemble(load_recipe(made))
    examples = job.select_student_examples()
    stage = job.stages[0]
    needs = collect_needs(stage.losses, stage.pairs, job.losses)
    assert needs.teacher_logits and needs.teacher_layers
    batch = job.collate([examples[row] for row in range(4)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    teacher, internal = Targets(job.teacher), Targets(job.internal_teacher)
    cached = load_targets(job, tmp_path / "run")
    live = Targets(job.teacher, internal=internal)
    assert not cached.is_run_for(needs) and live.is_run_for(needs)
    for targets in (live, cached):
        found = targets(inputs, np.arange(4), needs)
        assert torch.allclose(found.logits, teacher(inputs, None, needs).logits, atol=1e-4)
        assert torch.allclose(found.layers[2].cls, internal(inputs, None, needs).layers[2].cls, atol=1e-4)
    assert not torch.allclose(found.layers[2].cls, teacher(inputs, None, needs).layers[2].cls, atol=1e-2)


def test_runs_of_all_seeds_share_the_cache_and_the_budget_covers_both_models(content, base_folder):
    stores = set()
    for seed in (1, 2):
        job = assemble(load_recipe(content("run", teacher={"internal": str(base_folder)}, seed=seed)))
        examples = job.select_student_examples()
        stores.add(tuple(cached.store.key for cached in choose_cached_parts(job, examples)))
    assert len(stores) == 1 and len(set(*stores)) == 2
    logits = job.make_target_store(examples).count_bytes(choose_cached_parts(job, examples)[0].parts[0])
    few = content("run", teacher={"internal": str(base_folder), "targets": "auto", "targets_gigabytes": logits / 1e9})
    job = assemble(load_recipe(few))
    names = [part.name for cached in choose_cached_parts(job, examples) for part in cached.parts]
    assert names == ["logits"]


def test_what_runs_is_counted_for_both_models(content, base_folder, capsys):
    live = {"targets": "live"}
    schedule = {"total_steps": 12, "classification_always": True}
    alone = estimate_stage_costs(assemble(load_recipe(content("run", teacher=live, schedule=schedule))))
    made = content("run", teacher={**live, "internal": str(base_folder)}, schedule=schedule)
    both = estimate_stage_costs(assemble(load_recipe(made)))
    assert [cost.teacher_layers for cost in alone] == [4, 4, 4]
    assert [cost.teacher_layers for cost in both] == [4 + 2, 4 + 4, 4]
    assert both[0].relative > alone[0].relative and both[2].relative == alone[2].relative
    print_plan(assemble(load_recipe({**made, "teacher": made["teacher"] | {"targets": "cache"}})))
    said = capsys.readouterr().out
    assert "teacher outputs" in said and "internal teacher outputs" in said
    assert f"Internal losses learn from {base_folder}, soft labels from the teacher." in " ".join(said.split())


def test_a_schedule_without_internal_losses_records_none(content, base_folder):
    made = content("run", teacher={"internal": str(base_folder)}, schedule={"name": "soft_labels", "total_steps": 2})
    assert assemble(load_recipe(made)).internal_teacher is None
    assert read_record(distill(made)).internal_teacher is None


def test_it_is_a_key_of_the_student_alone(base_folder):
    ours, theirs = (
        load_recipe({"teacher": {"base": str(base_folder), "internal": internal}}) for internal in ("teacher", "base")
    )
    assert select_shared_keys(ours) == select_shared_keys(theirs)
    options = {"base": "b", "data": "d", "max_length": 9, "processes": 1}
    assert compute_teacher_key(ours, **options) == compute_teacher_key(theirs, **options)
    assert list_differences(ours.model_dump(mode="json"), theirs) == ["teacher.internal ('teacher', now 'base')"]
    before = ours.model_dump(mode="json")
    del before["teacher"]["internal"]  # the recipe of an older run
    assert list_differences(before, ours) == []


def test_the_first_line_names_it(content, base_folder):
    recipe = load_recipe(content("run", teacher={"internal": str(base_folder)}))
    assert f"Internal losses learn from {base_folder}." in describe_run(recipe)
    recipe = load_recipe({"teacher": {"base": str(base_folder), "internal": "base"}})
    assert f"Internal losses learn from {base_folder}." in describe_run(recipe)


def test_what_does_not_fit_is_refused(content, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="teacher.internal: 'base' means .* a control without a pre-trained source"):
        assemble(load_recipe(content("run", teacher={"internal": "base"})))
    for changes, sentence in (
        ({"layers": 3}, "the same num_layers, but the teacher has 4 and .* has 3"),
        ({"num_attention_heads": 2}, "the same num_heads, but the teacher has 4 and .* has 2"),
        ({"hidden_size": 16}, "the same hidden_size, but the teacher has 32 and .* has 16"),
        ({"vocab_size": 99}, "the teacher's vocab_size is 128, the internal teacher's 99"),
    ):
        folder = tmp_path / "-".join(changes)
        tiny_model(**changes).base_model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        with pytest.raises(ValueError, match=f"^teacher.internal: .*{sentence}"):
            assemble(load_recipe(content("run", teacher={"internal": str(folder)})))
    with pytest.raises(ValueError, match="^teacher.internal: .*nowhere: no such folder"):
        assemble(load_recipe(content("run", teacher={"internal": "./nowhere"})))


def test_a_finished_run_is_not_that_of_a_changed_internal_teacher(content, tokenizer, tmp_path):
    folder = tmp_path / "other"
    for seed in (7, 8):
        tiny_model(seed=seed).base_model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        made = content("run", teacher={"internal": str(folder)}, onnx=False)
        if seed == 7:
            (distill(made) / "report.html").unlink()
    with pytest.raises(ValueError, match="holds a run of another teacher of the internal losses"):
        distill(made)


def test_models_in_memory(make_model, tokenizer, tokenised, tmp_path):
    stage = Stage("all", {"attention_kl": 1.0, "cls_cosine": 1.0}, {1: 2, 2: 4}, steps=40)
    collate = make_collator(tokenizer)
    setup = TrainingSetup(
        train=tokenised, collate=collate, trainer={"use_cpu": True, "learning_rate": 2e-3}, losses=LOSSES
    )
    teacher, other = make_model(seed=1, dropout=0.0), make_model(seed=2, dropout=0.0)
    student = build_student(teacher, 2)
    for model in (teacher, other, student):
        probe(model)

    def measure():
        return [
            measure_layer_distances(model, student, tokenised, collate, pairs=stage.pairs) for model in (teacher, other)
        ]

    before = measure()
    distill_models(teacher, student, stages=[stage], setup=setup, folder=tmp_path, internal_teacher=other)
    after = measure()
    for k in ("1", "2"):
        assert after[1][k]["cls_cosine"] < before[1][k]["cls_cosine"] / 2
        assert after[0][k]["cls_cosine"] > before[0][k]["cls_cosine"]
    with pytest.raises(ValueError, match="internal_teacher: give the teacher as a model too"):
        distill_models(Targets(teacher), student, stages=[stage], setup=setup, folder=tmp_path, internal_teacher=other)
