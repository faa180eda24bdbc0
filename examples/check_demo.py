"""Check the demo's result: scores, report, model and ONNX file. Exits with 1 and a sentence if one is wrong."""

import json
import sys
from pathlib import Path

import onnxruntime
from transformers import AutoTokenizer, pipeline

RUN = Path("runs/demo")
SENTENCES = ["A wonderful, moving film.", "A dull and stupid mess."]


def main() -> None:
    """Check the scores and the report, run the model with transformers and its int8 file with onnxruntime."""
    record = json.loads((RUN / "run.json").read_text())
    scores, page = record["scores"]["validation"], (RUN / "report.html").read_text()
    teacher, student = scores["teacher"]["accuracy"], scores["student"]["accuracy"]
    constant = scores["teacher"]["constant"]
    require(teacher >= constant + 0.15, f"the teacher scores {teacher:.3f}, one constant label {constant:.3f}")
    require(student >= 0.9 * teacher, f"the student scores {student:.3f}, less than 90 % of {teacher:.3f}")
    require(
        record["student"]["layers"] == 3 and record["teacher"]["layers"] == 6,
        "student and teacher do not have 3 and 6 layers",
    )
    require(f"{teacher:.3f}" in page and f"{student:.3f}" in page, "the report does not show both scores")
    for layer, before in record["distances"]["before"].items():
        after = record["distances"]["after"][layer]["attention_kl"]
        require(after < before["attention_kl"], f"the attention of layer {layer} did not move towards the teacher's")
    classify = pipeline("text-classification", model=str(RUN / "model"))
    labels = [prediction["label"] for prediction in classify(SENTENCES)]
    require(labels == ["positive", "negative"], f"the model predicts {labels}")
    require(predict_by_onnx() == labels, "the int8 ONNX file predicts other labels than the model")
    print(f"The demo's student is fine: {student:.3f}, teacher {teacher:.3f}, one constant label {constant:.3f}.")


def predict_by_onnx() -> list[str]:
    """Predict the same two sentences with the int8 ONNX file.

    Returns:
        Predicted labels.
    """
    tokenizer = AutoTokenizer.from_pretrained(RUN / "model")
    session = onnxruntime.InferenceSession(RUN / "model" / "onnx" / "model_quantized.onnx")
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="np")
    logits = session.run(["logits"], {node.name: inputs[node.name] for node in session.get_inputs()})[0]
    names = json.loads((RUN / "model" / "config.json").read_text())["id2label"]
    return [names[str(index)] for index in logits.argmax(1)]


def require(condition: bool, complaint: str) -> None:
    """Exit with a sentence if a condition does not hold.

    Args:
        condition: value that should be true.
        complaint: sentence to print if it is not, without its full stop.
    """
    if not condition:
        sys.exit(f"The demo's result is wrong: {complaint}.")


if __name__ == "__main__":
    main()
