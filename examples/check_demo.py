"""Check that the demo's student is what the README says it is. Exits with 1 and a sentence if it is not."""

import json
import sys
from pathlib import Path

import onnxruntime
from transformers import AutoTokenizer, pipeline

RUN = Path("runs/demo")
SENTENCES = ["A wonderful, moving film.", "A dull and stupid mess."]


def main() -> None:
    """Check scores, report, and that the model works with transformers alone, and its file with onnxruntime."""
    record = json.loads((RUN / "run.json").read_text())
    scores, page = record["scores"]["validation"], (RUN / "report.html").read_text()
    teacher, student = scores["teacher"]["accuracy"], scores["student"]["accuracy"]
    constant = scores["teacher"]["constant"]
    require(teacher >= constant + 0.15, f"teacher {teacher:.3f} against a constant answer's {constant:.3f}")
    require(student >= 0.9 * teacher, f"student {student:.3f} keeps less than 90 % of {teacher:.3f}")
    require(record["student"]["layers"] == 3 and record["teacher"]["layers"] == 6, "layers are not 3 of 6")
    require(f"{teacher:.3f}" in page and f"{student:.3f}" in page, "the report does not show both scores")
    for layer, before in record["distances"]["before"].items():
        after = record["distances"]["after"][layer]["attention_kl"]
        require(after < before["attention_kl"], f"attention of layer {layer} did not come nearer to the teacher's")
    classify = pipeline("text-classification", model=str(RUN / "model"))
    found = [row["label"] for row in classify(SENTENCES)]
    require(found == ["positive", "negative"], f"the model says {found}")
    require(answers_by_onnx() == found, "the ONNX file of 8 bits answers otherwise")
    print(f"The demo's student is as it should be: {student:.3f} of {teacher:.3f}, constant answer {constant:.3f}.")


def answers_by_onnx() -> list[str]:
    """What the file of 8 bits says of the same two sentences.

    Returns:
        Labels.
    """
    tokenizer = AutoTokenizer.from_pretrained(RUN / "model")
    session = onnxruntime.InferenceSession(RUN / "model" / "onnx" / "model_int8.onnx")
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="np")
    logits = session.run(["logits"], {node.name: inputs[node.name] for node in session.get_inputs()})[0]
    names = json.loads((RUN / "model" / "config.json").read_text())["id2label"]
    return [names[str(index)] for index in logits.argmax(1)]


def require(condition: bool, complaint: str) -> None:
    """Stop with a sentence if a condition does not hold.

    Args:
        condition: what should be true.
        complaint: what to say if it is not.
    """
    if not condition:
        sys.exit(f"The demo's student is not what it should be: {complaint}.")


if __name__ == "__main__":
    main()
