"""Contracts of PROBLEM_TYPES: whoever adds a problem type finds here what its parts have to do together."""

import ast
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from problem_samples import LABELS, SAMPLES
from scipy.special import expit, softmax
from sentence_models import make_modules, write_sentence_model
from transformers import AutoConfig, AutoModel

import innerdistill
from innerdistill.data.windows import PIECES
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.metrics import AGREEMENT_METRICS, METRICS, find_agreement_metric, select_metrics
from innerdistill.evaluation.scoring import score_outputs
from innerdistill.losses.loss import LossInputs, measure
from innerdistill.losses.registry import LOSSES
from innerdistill.models.capture import Internals, capture, reads_first_token
from innerdistill.models.pretrained import load_base, load_classifier
from innerdistill.models.probe import probe
from innerdistill.problem_types.problem_types import (
    PROBLEM_TYPES,
    find_problem_type,
    find_problem_type_of_model,
    load_fine_tuned,
    name_problem_type,
    show_agreement,
)
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.text_ranking import TEXT_RANKING
from innerdistill.recipe.recipe import DEFAULT_LOSSES, DataRecipe

SOURCE = Path(innerdistill.__file__).parent
ROWS = pa.chunked_array([list(range(1, len(LABELS) + 1))])
PARTS = {"calibration error": "calibration_error", "per class": "per_class"}  # a part of a page and the scores it shows


@pytest.fixture(params=PROBLEM_TYPES)
def problem_type(request):
    return PROBLEM_TYPES[request.param]


@pytest.fixture
def sample(problem_type):
    assert problem_type.name in SAMPLES, "tests/problem_samples.py needs an entry for every problem type"
    return SAMPLES[problem_type.name]


def make_config(problem_type, sample, names):
    """Configuration of a model of the type, as its files say it."""
    mapping = getattr(problem_type.head.auto_class, "_model_mapping", None)
    of_bert = type(AutoConfig.for_model("bert"))
    architecture = "BertModel" if mapping is None else mapping[of_bert].__name__
    keys = {**problem_type.head.configure(names), **sample.outputs}
    return AutoConfig.for_model("bert", architectures=[architecture], **keys)


@pytest.fixture
def base(problem_type, base_folder, tokenizer, tmp_path):
    """Folder of a model that a head is added to. A sentence encoder has its own."""
    if problem_type.predictions.shape != "embeddings":
        return base_folder
    write_sentence_model(tmp_path / "encoder", AutoModel.from_pretrained(base_folder), tokenizer, *make_modules())
    return tmp_path / "encoder"


@pytest.fixture
def read_rows(problem_type, sample):
    """Read texts and values of a label column, as a split has them."""

    def read_rows(values, *, text=None, **options):
        block = sample.make_block(values)
        if text is not None:
            block[sample.task.text[0]] = text
        return problem_type.examples.read_rows(
            block, sample.task, **{"where": "test", "first": 1, "labelled": None, **options}
        )

    return read_rows


@pytest.fixture
def read(sample, read_rows):
    """Read labels, as a split has them."""

    def read(labels):
        _, read_labels = read_rows([label if label is None else sample.make_value(label) for label in labels])
        return pa.chunked_array([read_labels], pa.string())

    return read


@pytest.fixture
def labels(read):
    return read(LABELS)


@pytest.fixture
def names(problem_type, sample, labels):
    return problem_type.examples.find_names(labels.unique().to_pylist(), sample.task)


@pytest.fixture
def encoded(problem_type, sample, labels, names):
    return problem_type.examples.encode_labels(labels, sample.task, names=names, where="test", rows=ROWS)


@pytest.fixture
def logits(problem_type, sample, names):
    outputs = {**problem_type.head.configure(names), **sample.outputs}["num_labels"]
    return sample.draw(np.random.default_rng(0), len(LABELS), outputs)


def test_a_name_is_its_key_and_that_of_transformers(problem_type, sample, names):
    assert PROBLEM_TYPES[problem_type.name] is problem_type
    assert f"`{problem_type.name}`" in DataRecipe.model_fields["problem_type"].description
    assert problem_type.head.configure(names)["problem_type"] == sample.name_in_config in (problem_type.name, None)


def test_labels_are_read_encoded_and_shown_again(problem_type, sample, names, labels, encoded, read_rows):
    examples, outputs = problem_type.examples, problem_type.predictions
    assert examples.has_label(encoded).tolist() == [label is not None for label in LABELS]
    assert (outputs.has_label(encoded) == examples.has_label(encoded)).all()
    texts, _ = read_rows([sample.make_value(LABELS[0])])
    for label, code in zip(LABELS, encoded, strict=True):
        if label is not None:
            assert str(outputs.show_label(code, names, texts[0][0])) == sample.show(label)
    assert examples.show_text(texts[0][0]) == sample.shown_text
    assert read_rows([None, None])[1] == read_rows([b"bytes"], labelled=False)[1] * 2 == [None, None]


def test_what_is_no_label_and_no_text_is_refused_with_its_row(sample, read_rows):
    name = sample.task.text[0]
    with pytest.raises(ValueError, match="test: row 1.*expected"):
        read_rows([b"bytes"])
    with pytest.raises(ValueError, match=f"test: row 2: '{name}' holds 3, expected"):
        read_rows([None, None], text=["one", 3])
    with pytest.raises(ValueError, match="test: row 1 has no 'label'"):
        read_rows([None], labelled=True)
    with pytest.raises(ValueError, match=f"test: row 1 has no text in '{name}'"):
        read_rows([None], text=[None])
    texts, labels = read_rows([None], text=[None], labelled=False, allow_null=True)
    assert texts[0] == labels == [None]


def test_a_wrong_label_is_refused_with_its_row(problem_type, sample, names, read):
    rows = pa.chunked_array([[1, 2]])
    with pytest.raises(ValueError, match=r"test: row 2: .*what'"):  # as it is read, or as it is encoded
        problem_type.examples.encode_labels(read(["0", "what"]), sample.task, names=names, where="test", rows=rows)


def test_every_group_of_a_split_holds_like_labels(problem_type, read):
    labels = read(["1", "2", "1", "3", "2"])
    groups = problem_type.examples.group_labels(labels)
    assert groups.shape == (5,) and groups[0] == groups[2] and groups[1] == groups[4]


def test_texts_become_tokens_and_batches(problem_type, sample, tokenizer):
    examples, texts = problem_type.examples, [name for name in sample.columns if name.startswith("text")]
    columns = sample.columns if examples.has_parts else {name: sample.columns[name] for name in texts}
    tokens = examples.encode_texts(columns, tokenizer=tokenizer, texts=texts, max_length=12)
    first, last = sample.lengths
    assert (tokens["length"][0], tokens["length"][-1]) == (first, last)
    assert tokens["truncated"] == list(sample.truncated)
    assert (PIECES in tokens) == (problem_type.head.outputs == "per token")
    facts = [{name: column[index] for name, column in sample.columns.items() if name not in texts} for index in (0, -1)]
    rows = [{**of_row, **{name: tokens[name][index] for name in tokens}} for index, of_row in zip((0, -1), facts, strict=True)]  # fmt: skip
    rows = [{name: value for name, value in row.items() if name in ("input_ids", "labels", PIECES)} for row in rows]
    batch = examples.make_collator(tokenizer)(rows)
    assert batch["input_ids"].shape == (2, first) and batch["attention_mask"].sum() == first + last
    assert examples.make_collator(tokenizer, pad_to=20)(rows)["input_ids"].shape == (2, 20)


def test_names_are_matched_to_a_model_of_the_same_type(problem_type, sample, names):
    config = make_config(problem_type, sample, names)
    outputs = problem_type.head.name_outputs(config)
    assert len(outputs) == config.num_labels
    assert problem_type.examples.match_names(names, outputs, declared=False) == names


def test_a_model_is_of_one_type_only(problem_type, sample, names):
    config = make_config(problem_type, sample, names)
    fitting = [each for each in PROBLEM_TYPES.values() if each.head.fits(config)]
    # A CrossEncoder may have been made for scores of pairs, which a recipe then says.
    assert fitting == [*([REGRESSION] if problem_type is TEXT_RANKING else []), problem_type]
    assert find_problem_type_of_model(config) is problem_type


def test_a_head_for_one_score_is_one_for_regression_unless_its_files_say_more():
    config = AutoConfig.for_model("bert", num_labels=1, architectures=["BertForSequenceClassification"])
    assert TEXT_RANKING.head.fits(config) and find_problem_type_of_model(config) is REGRESSION
    config.problem_type = "regression"
    assert not TEXT_RANKING.head.fits(config)


def test_a_head_that_no_type_has_is_refused():
    config = AutoConfig.for_model("bert", num_labels=1, problem_type="multi_label_classification")
    with pytest.raises(ValueError, match="a head for multi_label_classification is not supported; expected one for"):
        find_problem_type_of_model(config)


def test_a_new_head_is_loaded_again_and_reads_what_it_says(problem_type, names, base, tmp_path):
    model = load_base(str(base), problem_type.head, names=names, seed=1)
    probe(model)
    assert (model in reads_first_token) == (problem_type.head.reads == "first token")
    ids = torch.tensor([[2, 5, 6, 3]])
    of_text, of_tokens = (1, model.config.num_labels), (1, 4, model.config.num_labels)
    shape = of_tokens if problem_type.head.outputs == "per token" else of_text
    assert capture(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, layers={}).logits.shape == shape
    problem_type.head.save(model, tmp_path)
    loaded, of_model = load_fine_tuned(str(tmp_path))
    assert of_model is problem_type and loaded.config.problem_type == problem_type.head.configure(names)["problem_type"]
    assert type(load_classifier(str(tmp_path), problem_type.head)) is type(loaded)


def test_output_losses_are_zero_for_equal_models_and_learn_from_labels(problem_type, sample, encoded, logits):
    targets, outputs, masks = sample.make_batch(encoded, logits)
    outputs.requires_grad_()
    inputs = LossInputs(torch.ones(len(LABELS), 5, dtype=torch.bool), targets, temperature=2.0, **masks)
    assert set(problem_type.output_losses) in ({"soft_labels", "gold_labels"}, set())
    soft = problem_type.stand_ins.get("soft_labels", "soft_labels")
    losses = {soft: LOSSES[soft], **problem_type.output_losses}
    teacher = Internals(outputs.detach())
    values = measure(losses, {}, teacher, Internals(outputs), inputs)
    assert torch.allclose(values[soft], torch.zeros(len(LABELS)), atol=1e-6)
    assert problem_type.learns_from_labels == ("gold_labels" in values)
    if problem_type.learns_from_labels:
        assert [value == 0 for value in values["gold_labels"].tolist()] == [label is None for label in LABELS]
    other = measure(losses, {}, Internals(outputs.detach() + torch.randn(outputs.shape)), Internals(outputs), inputs)  # fmt: skip
    for of_examples in other.values():
        assert of_examples.shape == (len(LABELS),) and (of_examples >= 0).all()
        (gradient,) = torch.autograd.grad(of_examples.sum(), outputs, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_losses_of_a_type_stand_in_the_place_of_others(problem_type):
    stand_ins = problem_type.stand_ins
    chosen = problem_type.choose_losses(DEFAULT_LOSSES)
    assert chosen == {stand_ins.get(name, name): weight for name, weight in DEFAULT_LOSSES.items()}
    assert set(chosen) <= set(LOSSES)
    problem_type.check_losses(chosen, LOSSES)
    for name, stand_in in stand_ins.items():
        assert LOSSES[name].is_internal == LOSSES[stand_in].is_internal
        named = {**DEFAULT_LOSSES, stand_in: 0.0}  # who names it gets what the recipe says
        is_there = LOSSES[name].is_internal or name in problem_type.output_losses
        expected = named[name] if is_there else None
        chosen = problem_type.choose_losses(named)
        assert chosen[stand_in] == 0 and chosen.get(name) == expected


def test_losses_of_embeddings_are_for_sentence_encoders_alone(problem_type):
    for name in (name for name, loss in LOSSES.items() if loss.of_embeddings):
        if problem_type.predictions.shape == "embeddings":
            problem_type.check_losses({name: 1.0}, LOSSES)
            continue
        with pytest.raises(
            ValueError, match=f"losses.{name}: it compares embeddings, and {problem_type.wording.title}"
        ):
            problem_type.check_losses({name: 1.0}, LOSSES)
        problem_type.check_losses({name: 0.0}, LOSSES)


def test_losses_that_compare_documents_are_for_rankers_alone(problem_type):
    for name in (name for name, loss in LOSSES.items() if loss.of_rankings):
        assert LOSSES[name].reads_batch
        if problem_type.predictions.shape == "rankings":
            problem_type.check_losses({name: 1.0}, LOSSES)
            continue
        with pytest.raises(ValueError, match=f"losses.{name}: it compares the documents of a query, and .* has none"):
            problem_type.check_losses({name: 1.0}, LOSSES)
        problem_type.check_losses({name: 0.0}, LOSSES)


def test_a_loss_that_a_type_lacks_is_refused(problem_type):
    for name in {"soft_labels", "gold_labels"} - set(problem_type.output_losses):
        with pytest.raises(ValueError, match=f"losses.{name}: .* learns from the teacher's .* alone"):
            problem_type.check_losses({name: 1.0}, LOSSES)


def test_predictions_have_the_shape_that_metrics_need(problem_type, encoded, names, logits):
    outputs = problem_type.predictions
    fitting = [name for name, metric in select_metrics(outputs.shape).items() if metric.higher_is_better]
    assert problem_type.default_metric in fitting
    assert find_agreement_metric(outputs.shape) in AGREEMENT_METRICS  # of examples without labels
    for name in fitting:
        scores = score_outputs(encoded, logits, scoring=problem_type.make_scoring(name, names))
        assert scores["metric"] == name and scores["rows"] == 7 and -1 <= scores[name] <= 1
        assert set(select_metrics(outputs.shape)) <= set(scores)
    predictions = outputs.predict(logits)
    assert len(predictions) == len(encoded) and outputs.identify(predictions).shape == (len(LABELS),)
    known = encoded[problem_type.examples.has_label(encoded)]
    marks = outputs.mark_classes(known, names)
    assert set(marks) == (set() if names is None else {"0", "1", "2"})
    assert not marks or sum(of_class.astype(int) for of_class in marks.values()).tolist() == [1] * 7


def test_right_predictions_beat_every_constant_answer(problem_type, sample, encoded, names):
    known = problem_type.examples.has_label(encoded)
    labels = encoded[known]
    perfect = sample.make_perfect(labels, names)
    scores = score_outputs(labels, perfect, scoring=problem_type.make_scoring(problem_type.default_metric, names))
    assert scores[problem_type.default_metric] == pytest.approx(1) and scores["constant"] < 1
    constants = list(problem_type.predictions.constant_predictions(labels, names))
    identify = problem_type.predictions.identify
    assert constants and all(len(constant) == len(labels) for constant in constants)
    assert all(len(np.unique(identify(constant))) == 1 for constant in constants)


def test_a_model_agrees_with_itself(problem_type, encoded, names, logits):
    outputs = problem_type.predictions
    numbers = outputs.compare(encoded, logits, logits)
    assert numbers[outputs.agreement] == pytest.approx(1)
    assert show_agreement(numbers) == outputs.show_agreement(numbers[outputs.agreement])
    differs, distances = outputs.measure_distances(logits, logits)
    assert not differs.any() and distances == pytest.approx(0)
    differs, distances = outputs.measure_distances(logits, -logits)
    assert differs.any() and (distances[differs] > 0).all()
    assert "answer" in outputs.show_answer(logits[0], names)


def test_warnings_are_lists_of_sentences(problem_type, labels, encoded, names, logits):
    examples = problem_type.examples
    assert examples.warn_of_missing(encoded, encoded, names) == examples.warn_of_spellings(labels) == []
    assert problem_type.predictions.find_swapped_labels(LabelledExamples(encoded), logits, names) is None


def test_the_columns_of_predict_are_those_that_it_names(problem_type, names, logits, read_rows):
    texts, _ = read_rows([None] * len(LABELS))
    columns = problem_type.predictions.make_columns(logits, names or ("score",), None, texts=texts[-1])
    expected = []
    for column in problem_type.wording.output_columns:
        expected += [column.replace("<label>", name) for name in names] if "<label>" in column else [column]
    assert list(columns)[: len(expected)] == expected and all(len(values) == len(LABELS) for values in columns.values())


def test_wording_is_complete_and_plain(problem_type, encoded, names, logits):
    wording = problem_type.wording
    for text in (wording.title, wording.outputs, wording.pipeline_tag, wording.agreement, wording.disagreement):
        assert text.strip() == text != ""
    loads = f'pipeline("{wording.pipeline_tag}"', f"{problem_type.head.auto_class.__name__}.from_pretrained("
    loads = (*loads, 'SentenceTransformer("path/to/this/folder")', 'CrossEncoder("path/to/this/folder")')
    assert any(call in line for line in wording.usage for call in loads)  # transformers has no pipeline for some tags
    compile("\n".join(wording.usage), "usage", "exec")
    assert bool(wording.agreement_numbers) == bool(wording.agreement_note)
    scores = score_outputs(encoded, logits, scoring=problem_type.make_scoring(problem_type.default_metric, names))
    numbers = problem_type.predictions.compare(encoded, logits, logits)
    for part, name in PARTS.items():
        assert (part in wording.page_parts) == (name in scores)
    assert ("right and wrong" in wording.page_parts) == ("teacher_right_student_right" in numbers)


@pytest.mark.parametrize("metric", [name for name in METRICS if METRICS[name].higher_is_better])
def test_the_type_follows_from_the_metric(metric):
    if METRICS[metric].shape == "searches":
        with pytest.raises(
            ValueError, match=f"data.metric: '{metric}' scores how queries find documents; name a folder"
        ):
            find_problem_type(DataRecipe(text=("text",), metric=metric))
        return
    problem_type = find_problem_type(DataRecipe(text=("text",), metric=metric)).problem_type
    assert problem_type.predictions.shape == METRICS[metric].shape


def test_metrics_that_no_task_can_have():
    with pytest.raises(ValueError, match="data.metric: unknown metric 'acuracy'. Did you mean 'accuracy'"):
        find_problem_type(DataRecipe(text=("text",), metric="acuracy"))
    with pytest.raises(ValueError, match="data.metric: 'mse' cannot be the primary metric, because lower is better"):
        find_problem_type(DataRecipe(text=("text",), metric="mse"))


@pytest.mark.parametrize(("key", "value"), [("thresholds", "half"), ("separator", ";")])
def test_a_key_that_only_another_type_reads_is_refused(key, value):
    recipe = DataRecipe(train="train.csv", text="text", problem_type="multi_label_classification", **{key: value})
    find_problem_type(recipe)
    with pytest.raises(ValueError, match=f"^data.{key}: only multi-label classification reads .* is regression; leave"):
        find_problem_type(recipe.model_copy(update={"problem_type": "regression"}))


def test_a_record_without_a_problem_type_is_one_of_an_earlier_version():
    assert name_problem_type({"names": ["no", "yes"]}) == "single_label_classification"
    assert name_problem_type({"names": None}) == "regression"
    assert name_problem_type({"names": None, "problem_type": "new"}) == "new"


def asks_which_type(node):
    """A comparison with the name of a type, with `names` and None, or with one output."""
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    constants = [side.value for side in sides if isinstance(side, ast.Constant)]
    if any(constant in PROBLEM_TYPES for constant in constants if isinstance(constant, str)):
        return True
    asked = {side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", None) for side in sides}
    return ("names" in asked and None in constants) or ("num_labels" in asked and 1 in constants)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_other_room_asks_which_type_it_is(path):
    if path.parent.name == "problem_types" or path == SOURCE / "models" / "heads.py":  # the functions that they wire
        return
    lines = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if asks_which_type(node)]
    assert not lines, f"{path}: line {lines}: ask the ProblemType instead"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.j2")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_page_asks_which_type_it_is(path):
    text = path.read_text()
    assert "equal_predictions" not in text and "data.names" not in text


def test_outputs_of_another_model_become_logits_or_are_refused_with_a_reason(problem_type):
    rules = problem_type.examples.given_outputs
    if isinstance(rules, str):
        assert rules.endswith(".") and rules[0].islower()
        return
    shares = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])
    logits = rules.to_logits(shares)
    assert np.isfinite(logits.astype(np.float32)).all()
    decide = softmax if rules.sum_to_one else lambda values, axis: expit(values)
    np.testing.assert_allclose(decide(logits, axis=1), shares, atol=1e-9)
    assert (problem_type.predictions.decide(logits).shape == (3,)) == rules.sum_to_one
