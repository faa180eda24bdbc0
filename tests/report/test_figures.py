"""Figures of the page of a run."""

import re

import numpy as np

from innerdistill.report.figures import draw_attention_maps


def test_tokens_stand_below_every_map_and_left_of_the_first_of_a_row():
    tokens = ["[CLS]", "$x_1", "a<b", "[SEP]"]
    maps = np.full((2, 4, 4), 0.25).tolist()
    layers = {
        layer: {"teacher": maps, "student": maps, "teacher_layer": 2 * layer, "kl": [0.0, 0.0]} for layer in (1, 2)
    }
    figure = draw_attention_maps({"tokens": tokens, "layers": layers}, {"student": layers})
    shown = re.findall(r"<text [^>]*>([^<]*)</text>", figure)
    rows, panels = len(layers), 2
    for token in ("[CLS]", "$x_1", "a&lt;b", "[SEP]"):
        assert shown.count(token) == rows * panels + rows
    assert len(re.findall(r"<text [^>]*rotate\(-90[^>]*>\$x_1<", figure)) == rows * panels
