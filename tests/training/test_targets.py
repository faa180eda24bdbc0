"""Kept targets: the same as live ones, built once, never served when damaged."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset

from innerdistill.data.batches import make_collator, split_off_index
from innerdistill.losses.loss import Loss, collect_needs
from innerdistill.losses.registry import LOSSES
from innerdistill.models.families import FAMILIES
from innerdistill.models.probe import probe
from innerdistill.run.teacher_cache import BYTES_TO_ACCELERATOR, compute_cache_budget
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage
from innerdistill.training.target_store import LOGITS, Part
from innerdistill.training.targets import Targets, choose_parts, fill_store, has_fast_bfloat16, make_target_store

INTERNAL = {"attention_kl": 1.0, "cls_cosine": 1.0}
STAGE = Stage("all", {**INTERNAL, "soft_labels": 1.0}, {1: 2, 2: 4}, epochs=3)
PARTS = [LOGITS, *(Part(kind, layer) for kind in ("cls", "attention", "entropy") for layer in (2, 4))]


@pytest.fixture
def dataset(tokenizer, sentences):
    encoded = tokenizer([text for text, _ in sentences[:70]])
    lengths = [len(ids) for ids in encoded["input_ids"]]
    return Dataset.from_dict({**encoded, "labels": [0] * 70, "length": lengths, "index": list(range(70))})


@pytest.fixture
def make(make_model, tokenizer, dataset, tmp_path):
    """Make the store of a teacher, with some parts open."""

    def make(parts, *, family="bert", seed=0, data=dataset):
        teacher = make_model(family, seed=seed)
        store = make_target_store(teacher, data, probe(teacher), folder=tmp_path)
        fill_store(teacher, store, parts, data, make_collator(tokenizer))
        return teacher, store

    return make


def batch_of(dataset, tokenizer, rows):
    batch = split_off_index(make_collator(tokenizer))([dataset[row] for row in rows])
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}, batch["index"]


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_equals_live(make, tokenizer, dataset, family):
    teacher, store = make(PARTS, family=family)
    inputs, rows = batch_of(dataset, tokenizer, [3, 60, 11, 3])
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    needs = collect_needs(STAGE.losses, STAGE.pairs, LOSSES)
    live, kept = Targets(teacher)(inputs, None, needs), Targets(teacher, store=store)(inputs, rows, needs)
    # Rounding depends on the shape of the batch; the maps have 16 bits.
    assert torch.allclose(kept.logits, live.logits, atol=1e-4)
    real = inputs["attention_mask"][:, None, :, None]
    for layer in (2, 4):
        assert torch.allclose(kept.layers[layer].cls, live.layers[layer].cls, atol=1e-4)
        maps = live.layers[layer].attention.probabilities() * real
        assert torch.allclose(kept.layers[layer].attention.probabilities() * real, maps, atol=5e-4)


def test_the_embeddings_are_kept_too(make, tokenizer, dataset):
    loss = Loss(lambda teacher, student: (teacher - student).square().mean(1), needs=("cls",), embeddings=True)
    losses, stage = {"near": loss}, Stage("all", {"near": 1.0}, {1: 2}, epochs=1)
    teacher, store = make([Part("cls", 0), Part("cls", 2)])
    inputs, rows = batch_of(dataset, tokenizer, [3, 60])
    needs = collect_needs(stage.losses, stage.pairs, losses)
    live, kept = Targets(teacher)(inputs, None, needs), Targets(teacher, store=store)(inputs, rows, needs)
    assert torch.allclose(kept.layers[0].cls, live.layers[0].cls, atol=1e-4)


def test_what_is_kept_needs_no_teacher(make, tokenizer, dataset, monkeypatch):
    teacher, store = make([LOGITS, Part("cls", 2), Part("attention", 2), Part("entropy", 2)])
    runs = []
    forward = teacher.forward
    monkeypatch.setattr(teacher, "forward", lambda **inputs: runs.append(1) or forward(**inputs))
    targets = Targets(teacher, store=store)
    inputs, rows = batch_of(dataset, tokenizer, [0, 1])
    for pairs, wanted in (({1: 2}, 0), ({1: 2, 2: 4}, 1)):  # layer 4 is not kept: one pass gives all layers
        runs.clear()
        stage = Stage("some", STAGE.losses, pairs)
        found = targets(inputs, rows, collect_needs(stage.losses, stage.pairs, LOSSES))
        assert len(runs) == wanted and set(found.layers) == set(pairs.values()) and found.logits is not None


def test_a_kind_that_no_store_holds_is_made_live(make, tokenizer, dataset):
    teacher, store = make(PARTS)
    losses = {**LOSSES, "hidden": Loss(lambda teacher, student: student[:, 0, 0], needs=("hidden",))}
    stage = Stage("hidden", {"hidden": 1.0, "soft_labels": 1.0}, {1: 2})
    found = Targets(teacher, store=store)(
        *batch_of(dataset, tokenizer, [0, 1]), collect_needs(stage.losses, stage.pairs, losses)
    )
    assert found.layers[2].hidden is not None and found.logits is not None


def must_not_run(missing):
    raise AssertionError(missing)


def test_a_store_is_built_once_and_shared(make, dataset):
    _, store = make(PARTS[:2])
    _, again = make([])
    again.open(PARTS[:2], must_not_run)
    assert np.array_equal(again.arrays[LOGITS], store.arrays[LOGITS])
    _, other_teacher = make([], seed=1)
    _, other_data = make([], data=dataset.select(range(69)))
    assert len({store.key, other_teacher.key, other_data.key}) == 3


def shorten(path):
    path.write_bytes(path.read_bytes()[:-8])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [shorten, flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["layer_02_attention.npy", "layer_02_attention.json"])
def test_a_damaged_part_is_built_again(make, name, damage):
    _, store = make(PARTS)
    wanted = np.array(store.arrays[Part("attention", 2)])
    damage(store.folder / name)
    (store.folder / "layer_02_attention.npy.partial").write_bytes(b"left by a build that was killed")
    _, again = make(PARTS)
    assert np.array_equal(again.arrays[Part("attention", 2)], wanted)
    assert not list(store.folder.glob("*.partial"))


def test_a_part_of_another_store_is_not_served(make):
    _, store = make([LOGITS])
    _, other = make([LOGITS], seed=1)
    for name in ("logits.npy", "logits.json"):
        (store.folder / name).write_bytes((other.folder / name).read_bytes())
    _, again = make([LOGITS])
    assert not np.array_equal(again.arrays[LOGITS], other.arrays[LOGITS])


def test_a_build_that_fails_leaves_nothing_that_is_served(make):
    _, store = make([])

    def break_off(missing):
        yield np.arange(3), {LOGITS: np.zeros((3, 2))}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.open([LOGITS], break_off)
    assert not store.arrays and not (store.folder / "logits.npy").exists()
    _, again = make([LOGITS])
    assert np.abs(again.arrays[LOGITS]).min() > 0


def test_runs_at_the_same_time_build_once(make, dataset):
    teacher, first = make([])
    architecture, builds = probe(teacher), []

    def run(_):
        store = make_target_store(teacher, dataset, architecture, folder=first.folder.parent)

        def compute(missing):
            builds.append(missing)
            yield np.arange(70), {LOGITS: np.ones((70, 2))}

        store.open([LOGITS], compute)
        return np.array(store.arrays[LOGITS])

    with ThreadPoolExecutor(4) as pool:
        assert all((found == 1).all() for found in pool.map(run, range(4)))
    assert len(builds) == 1


def test_what_fits_is_kept_in_the_order_of_its_worth(make):
    _, store = make([])
    sid = [replace(STAGE, losses=INTERNAL, pairs={1: 2}), replace(STAGE, losses=INTERNAL)]
    sid += [replace(STAGE, losses={"soft_labels": 1.0}, pairs={})]

    def chosen(max_bytes, *, stages=sid, cache_all=False):
        return choose_parts(store, stages, losses=LOSSES, cache_all=cache_all, max_bytes=max_bytes)

    assert chosen(10**9) == PARTS == chosen(0, cache_all=True)
    assert chosen(0) == [] and chosen(store.count_bytes(LOGITS)) == [LOGITS]
    first = [LOGITS, Part("cls", 2), Part("attention", 2), Part("entropy", 2)]
    # Half of what a stage needs is no use to it: the attention of layer 4 does not fit, so neither is its CLS kept.
    assert chosen(sum(map(store.count_bytes, first)) + store.count_bytes(Part("cls", 4))) == first
    assert chosen(10**9, stages=[replace(STAGE, losses={"gold_labels": 1.0}, pairs={})]) == []


def test_another_configuration_of_the_same_weights_has_its_own_store(make_model, dataset, tmp_path):
    keys = set()
    for pooling in ("cls", "mean"):
        teacher = make_model("modernbert", classifier_pooling=pooling)
        keys.add(make_target_store(teacher, dataset, probe(teacher), folder=tmp_path).key)
        teacher.config.thresholds = [0.3, 0.4]  # of multi-label classification: outputs stay as they are
        keys.add(make_target_store(teacher, dataset, probe(teacher), folder=tmp_path).key)
    assert len(keys) == 2


def test_padding_to_a_fixed_length_is_not_computed(make_model, tokenizer, dataset, tmp_path, monkeypatch):
    teacher = make_model()
    store, widths = make_target_store(teacher, dataset, probe(teacher), folder=tmp_path), []
    forward = teacher.forward
    monkeypatch.setattr(
        teacher, "forward", lambda **inputs: widths.append(inputs["input_ids"].shape[1]) or forward(**inputs)
    )
    fill_store(teacher, store, PARTS, dataset, make_collator(tokenizer, pad_to=60))
    assert max(widths) == max(dataset["length"]) < 60


def test_a_loss_on_kept_maps_meets_no_infinity(make, tokenizer, dataset):
    teacher, store = make(PARTS)
    inputs, rows = batch_of(dataset, tokenizer, [3, 60])
    found = Targets(teacher, store=store)(inputs, rows, collect_needs(STAGE.losses, STAGE.pairs, LOSSES))
    assert found.layers[2].attention.log_probabilities().isfinite().all()


def test_a_store_of_other_rows_is_refused(make, make_model, tokenizer, dataset, tmp_path):
    teacher, store = make([LOGITS])
    same_length = [row for row in range(70) if dataset["length"][row] == dataset["length"][0]][:2]
    order = list(range(70))
    order[same_length[0]], order[same_length[1]] = order[same_length[1]], order[same_length[0]]
    train = dataset.select(order)
    assert train["length"] == dataset["length"]
    with pytest.raises(ValueError, match="do not belong to the examples of `train`"):
        distill_models(
            Targets(teacher, store=store), make_model(), stages=[STAGE], folder=tmp_path,
            setup=TrainingSetup(train=train, collate=make_collator(tokenizer)),
        )  # fmt: skip


@pytest.mark.skipif(not has_fast_bfloat16(torch.device("cpu")), reason="the CPU has no bfloat16")
def test_a_16_bit_teacher_says_almost_the_same(make, tokenizer, dataset):
    teacher, _ = make([])
    inputs, _ = batch_of(dataset, tokenizer, [0, 1, 2])
    needs = collect_needs(STAGE.losses, STAGE.pairs, LOSSES)
    whole, short = (Targets(teacher, bfloat16=bfloat16)(inputs, None, needs) for bfloat16 in (False, True))
    assert not torch.equal(whole.logits, short.logits)
    cosine = torch.nn.functional.cosine_similarity(whole.layers[4].cls, short.layers[4].cls.float(), dim=-1)
    assert (1 - cosine).max() < 1e-3


def test_an_accelerator_keeps_only_what_is_read_faster_than_made():
    assert compute_cache_budget(2, examples=10, device=torch.device("cpu")) == 2 * 10**9
    assert compute_cache_budget(2, examples=10, device=torch.device("cuda")) == 10 * BYTES_TO_ACCELERATOR
    assert compute_cache_budget(1e-6, examples=10, device=torch.device("cuda")) == 1000
