"""Try families of models, and write the table of what was found.

`python tests/try_families.py` tries them all, and takes half an hour on a busy core; `python tests/try_families.py bert mpnet` tries
some, and leaves the other rows as they are. The tests measure the same, and compare.
"""

import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import TRAINER, VOCABULARY, make_tokenizer, sentence, tiny_model
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from innerdistill import distill
from innerdistill.models.families import FAMILIES, UNLIMITED, max_positions
from innerdistill.models.onnx_files import OnnxClassifier, write_float32, write_int8
from innerdistill.models.padding import check_padded_outputs
from innerdistill.models.student import build_student
from innerdistill.models.tried_families import (
    LAYERS,
    NOTHING,
    OUTPUTS,
    RANDOM,
    TriedFamily,
    read_tried_families,
    write_tried_families,
)

SIZES = {
    "vocab_size": len(VOCABULARY), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 66, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
    "initializer_range": 0.2,
}  # fmt: skip
XLM = {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "n_words": len(VOCABULARY), "pad_index": 0, "init_std": 0.2}
DECODER = {"num_key_value_heads": 2, "head_dim": 8}
LEFT = ("xlnet",)  # families whose tokenizers pad on the left
OTHERS = {  # families whose layers are not read, and options of small models
    "albert": {"embedding_size": 16},
    "bart": {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64,
        "decoder_attention_heads": 4, "decoder_ffn_dim": 64, "decoder_start_token_id": 3,
    },
    "big_bird": {"attention_type": "original_full"},  # as it is for texts of fewer than 704 tokens
    "convbert": {},
    "flaubert": XLM,
    "fnet": {},
    "gemma2": DECODER,
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 2},
    "ibert": {},
    "llama": DECODER,
    "longformer": {"attention_window": 4},
    "megatron-bert": {},
    "mistral": DECODER,
    "mra": {},
    "nystromformer": {},
    "qwen3": DECODER,
    "rembert": {},
    "roformer": {},
    "squeezebert": {"embedding_size": 32},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    "xlm": XLM,
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "yoso": {},
}  # fmt: skip
SIZE_NAMES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
WITHOUT_LIMIT = ("t5", "xlnet")  # of their input
OWN_NAMES = ("flaubert", "gpt2", "t5", "xlm", "xlnet", "bart")  # of sizes
REAL = {"bert": "MiniLM", "mpnet": "MPNet"}  # models of the committed results


@dataclass(frozen=True)
class Learned:
    """Accuracies on fresh texts.

    Attributes:
        constant: of the most frequent class.
        teacher: of the fine-tuned teacher.
        start: of the student before it is trained.
        student: of the student.
    """

    constant: float
    teacher: float
    start: float
    student: float

    @property
    def kept(self) -> float:
        """Share of what the teacher has above the constant answer."""
        return (self.student - self.constant) / (self.teacher - self.constant)


def write_task(family: str, folder: Path) -> dict[str, Any]:
    """Write a small random base model of a family, and make the arguments of `distill` for half of its layers by SID.

    The task: does a text have more good words than bad ones? Five hundred texts are learned from, 200 scored.

    Args:
        family: an entry of FAMILIES.
        folder: empty folder.
    """
    tiny_model(family, seed=3, pad_token_id=0).base_model.save_pretrained(folder / "base")
    make_tokenizer().save_pretrained(folder / "base")
    generator = random.Random(0)
    scored = [sentence(generator) for _ in range(1000)]
    rows = [{"text": text, "label": "pos" if score > 0 else "neg"} for text, score in scored if score != 0]
    return {
        "train": rows[:500],
        "validation": rows[500:700],
        "teacher": {"base": str(folder / "base"), "epochs": 10, "folder": str(folder / "teachers"), "allow_weak": True},
        "schedule": {"name": "sid", "epochs_per_layer": 3, "classification_epochs": 6},
        "trainer": TRAINER,
        "output": str(folder / "run"),
    }


def learn_by_sid(family: str, folder: Path) -> Learned:
    """Fine-tune a small random model as a teacher, and distil half of its layers by SID.

    Args:
        family: an entry of FAMILIES.
        folder: empty folder.
    """
    task = write_task(family, folder)
    run = distill(**task)
    teacher = AutoModelForSequenceClassification.from_pretrained(run.record.teacher.path)
    with torch.no_grad():
        inputs = make_tokenizer()([row["text"] for row in task["validation"]], padding=True, return_tensors="pt")
        found = build_student(teacher.eval(), 2).eval()(**inputs).logits.argmax(-1).tolist()
    labels = [row["label"] for row in task["validation"]]
    scores = run.scores["validation"]
    return Learned(
        constant=scores["teacher"]["constant"],
        teacher=scores["teacher"]["accuracy"],
        start=float(
            np.mean([teacher.config.id2label[number] == label for number, label in zip(found, labels, strict=True)])
        ),
        student=scores["student"]["accuracy"],
    )


def make_other(family: str):
    """A small random model of a family whose layers are not read."""
    left_out = (
        *(SIZE_NAMES if family in OWN_NAMES else ()),
        *(["max_position_embeddings"] * (family in WITHOUT_LIMIT)),
    )
    options = {name: value for name, value in SIZES.items() if name not in left_out}
    config = AutoConfig.for_model(family, **{**options, **OTHERS[family]})
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


def is_padded_well(family: str, model) -> bool:
    """Whether a text has the same outputs alone and in a padded batch."""
    try:
        check_padded_outputs(family, make_tokenizer(padding_side="left" if family in LEFT else "right"), model, texts=1)
    except ValueError:
        return False
    return True


def make_inputs(rows: int, length: int, *, types: bool) -> dict[str, torch.Tensor]:
    """Random tokens; every row but the first is padded, on the right."""
    generator = torch.Generator().manual_seed(rows * length)
    ids = torch.randint(5, len(VOCABULARY), (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(rows):
        mask[row, length - row * length // 9 :] = 0
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    return inputs | (
        {"token_type_ids": torch.arange(length).expand(rows, length) // (length // 2 + 1)} if types else {}
    )


def compare_onnx(model, folder: Path, *, types: bool = False) -> tuple[bool, bool]:
    """Export a model, and compare its outputs for batches of other sizes and lengths than that of the export.

    Args:
        model: classifier.
        folder: where the files go.
        types: whether token types are an input.

    Returns:
        Whether the float32 file gives the same outputs (1e-4 of them), and whether that in int8 stays within a fifth
        of the largest.
    """
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    write_float32(model, folder / "model.onnx", inputs=names, outputs=["logits"])
    write_int8(folder / "model.onnx", folder / "int8.onnx")
    exact, rounded = (OnnxClassifier(folder / name, threads=1) for name in ("model.onnx", "int8.onnx"))
    same, near = [], []
    for rows, length in ((1, 5), (3, 16), (1, 2), (7, 40), (2, 64)):
        batch = make_inputs(rows, length, types=types)
        with torch.no_grad():
            wanted = model(**batch).logits.numpy()
        same.append(np.allclose(exact(batch), wanted, rtol=1e-4, atol=1e-5))
        found = rounded(batch)
        near.append(0 < np.abs(found - wanted).max() < 0.2 * max(1, np.abs(wanted).max()))
    return all(same), all(near)


def try_onnx(model) -> tuple[bool, bool]:
    """As `compare_onnx`; a model that torch or onnxruntime cannot export or run has no file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return compare_onnx(model, Path(folder))
        except Exception:  # noqa: BLE001 - of torch's exporter, of many kinds
            return False, False


def find_longest_input(family: str) -> int | None:
    """Tokens for which a model of the default configuration has positions; None without a limit."""
    with torch.device("meta"):
        config = AutoConfig.for_model(family)
        if config.vocab_size is None:  # ESM's
            config.vocab_size = len(VOCABULARY)
        longest = max_positions(AutoModel.from_config(config))
    return None if longest == UNLIMITED else longest


def try_family(family: str) -> TriedFamily:
    """Measure the row of a family."""
    if family in FAMILIES:
        learned, model = LAYERS, tiny_model(family, layers=2, num_labels=3)
        with tempfile.TemporaryDirectory() as folder:
            kept = learn_by_sid(family, Path(folder)).kept
    else:
        model, kept = make_other(family), None
        learned = OUTPUTS if is_padded_well(family, model) else NOTHING
    exact, rounded = try_onnx(model)
    return TriedFamily(family, learned, REAL.get(family, RANDOM), exact, rounded, find_longest_input(family), kept)


def main() -> None:
    """Try the families of the command line, or all, and write the table."""
    torch.set_num_threads(1)
    rows = read_tried_families() if sys.argv[1:] else {}
    for family in sys.argv[1:] or [*sorted(FAMILIES), *OTHERS]:
        rows[family] = try_family(family)
        sys.stdout.write(f"{rows[family]}\n")
    order = [*sorted(FAMILIES), *OTHERS]
    write_tried_families(sorted(rows.values(), key=lambda row: order.index(row.family)))


if __name__ == "__main__":
    main()
