"""The activation of a ranker's score, wherever the files of a CrossEncoder say it."""

import json

import numpy as np
import pytest
from transformers import AutoConfig

from innerdistill.models.pretrained import read_config
from innerdistill.models.rankers import adopt_activation, find_activation, is_ranker

SETTINGS = "config_sentence_transformers.json"


def write_config(folder, settings=None, **keys):
    """Write the configuration of a model with one output."""
    config = AutoConfig.for_model(
        "bert", **{"num_labels": 1, "architectures": ["BertForSequenceClassification"], **keys}
    )
    config.save_pretrained(folder)
    if settings is not None:
        (folder / SETTINGS).write_text(json.dumps(settings))
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "keys", "expected"),
    [
        ({"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity"}, {}, 3.0),
        ({"model_type": "CrossEncoder"}, {}, 1 / (1 + np.exp(-3))),
        (None, {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}, np.tanh(3)),
        (None, {"sentence_transformers": {"version": "4.0"}}, 1 / (1 + np.exp(-3))),
        (None, {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, 3.0),
        (None, {"sentence_transformers": {"activation_fn": "some.package.Activation"}}, 1 / (1 + np.exp(-3))),
    ],
)
def test_a_ranker_is_known_by_its_files_and_a_student_has_its_activation(tmp_path, settings, keys, expected):
    config = read_config(write_config(tmp_path, settings, **keys))
    assert is_ranker(config) and find_activation(config)(np.array([3.0])) == pytest.approx(expected)
    student = AutoConfig.for_model("bert", num_labels=1, sbert_ce_default_activation_function="torch.nn.ReLU")
    adopt_activation(student, config)
    assert find_activation(student)(np.array([3.0])) == pytest.approx(expected)
    assert not hasattr(student, "sbert_ce_default_activation_function")


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        (None, {}),
        ({"model_type": "SentenceTransformer"}, {}),
        ({"model_type": "CrossEncoder"}, {"num_labels": 3}),
        ({"model_type": "CrossEncoder"}, {"problem_type": "regression"}),
        ({"model_type": "CrossEncoder"}, {"architectures": ["BertForTokenClassification"]}),
    ],
)
def test_other_models_are_no_rankers(tmp_path, settings, keys):
    assert not is_ranker(read_config(write_config(tmp_path, settings, **keys)))


def test_an_unknown_activation_is_refused(tmp_path):
    activation = {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.GELU"}}
    config = read_config(write_config(tmp_path, **activation))
    with pytest.raises(ValueError, match="the activation of its score is 'torch.nn.modules.activation.GELU'; expected"):
        find_activation(config)
    with pytest.raises(ValueError, match="the activation of its score"):
        adopt_activation(AutoConfig.for_model("bert", num_labels=1), config)
