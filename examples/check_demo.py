"""Check that the demo's student is what the README says it is. Exits with 1 and a sentence if it is not."""

import json
import sys
from pathlib import Path

from transformers import pipeline

RUN = Path("runs/demo")


def main() -> None:
    """Check scores, report, and that the model works with transformers alone."""
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
    found = [row["label"] for row in classify(["A wonderful, moving film.", "A dull and stupid mess."])]
    require(found == ["positive", "negative"], f"the model says {found}")
    print(f"The demo's student is as it should be: {student:.3f} of {teacher:.3f}, constant answer {constant:.3f}.")


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
