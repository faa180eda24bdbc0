"""Attention maps of the students of a sweep."""

import json


def test_attention_of_methods_that_map_other_layers(finished, make_finished, write_report, tmp_path):
    """A rival's map shares no pair of layers with the others'; the figure shows what most map."""
    rival = make_finished("rival", finished[0].cell.setting)
    file = rival.run.folder / "examples.json"
    content = json.loads(file.read_text())
    for example in content["attention"]:
        example["layers"] = {"4": {**example["layers"]["4"], "teacher_layer": 1}}
    file.write_text(json.dumps(content))
    write_report(tmp_path, [finished[0], finished[10], rival])
    page = (tmp_path / "report.html").read_text()
    assert "Attention on one example" in page and "teacher, layer 4" in page and "rival, layer 4" not in page
