"""What a recipe needs to know of a model of any family, without its weights."""

from pathlib import Path

import pytest
from conftest import tiny_model

from innerdistill import FAMILIES
from innerdistill.first_recipe.model import load_reader, read_model
from innerdistill.first_recipe.request import Request
from innerdistill.models.pretrained import load_tokenizer, longest_input


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_is_read_without_its_weights(family, tokenizer, tmp_path):
    loaded = tiny_model(family, num_labels=3)
    loaded.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    model = read_model(Request(str(tmp_path), is_teacher=True, target=Path("r.yaml"), text=(), label=None, files={}))
    assert (model.num_layers, model.problem_type.name) == (4, "single_label_classification")
    assert model.outputs == ("LABEL_0", "LABEL_1", "LABEL_2") and not model.own_names
    limit = longest_input(load_tokenizer(str(tmp_path), loaded, texts=2), loaded, None)
    assert load_reader(model, texts=2)[1] == limit


def test_a_head_of_another_kind_is_refused(tokenizer, tmp_path):
    tiny_model(num_labels=1, problem_type="multi_label_classification").save_pretrained(tmp_path)
    request = Request(str(tmp_path), is_teacher=True, target=Path("r.yaml"), text=(), label=None, files={})
    with pytest.raises(ValueError, match="--teacher: .*a head for multi_label_classification is not supported"):
        read_model(request)


def test_a_base_model_has_no_outputs(base_folder):
    request = Request(str(base_folder), is_teacher=False, target=Path("r.yaml"), text=(), label=None, files={})
    model = read_model(request)
    assert (model.problem_type, model.outputs, model.own_names, model.num_layers) == (None, (), (), 4)
