"""Distil with models and data that are already in memory, without a recipe, as in a notebook.

python examples/in_memory.py TEACHER FILE    # a fine-tuned classifier; a CSV file with the columns text and label
"""

import sys

from datasets import Dataset, load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, PreTrainedModel

import innerdistill


def distil(name: str, file: str, *, folder: str = "runs/in-memory", epochs: float = 1) -> PreTrainedModel:
    """Distil a student of half the layers by SID. It starts from the teacher's layers 2, 4, 6, ...

    Args:
        name: folder or name of the teacher.
        file: CSV file with the columns text and label; the labels are names in the teacher's `id2label`.
        folder: folder for TensorBoard files, and for checkpoints while it runs.
        epochs: epochs per stage.

    Returns:
        The student.
    """
    tokenizer = AutoTokenizer.from_pretrained(name)
    teacher = AutoModelForSequenceClassification.from_pretrained(name).eval()
    ids = {label: number for number, label in teacher.config.id2label.items()}

    def tokenise(row: dict) -> dict:
        tokens = tokenizer(row["text"], truncation=True, max_length=128)
        return {**tokens, "labels": ids[row["label"]], "length": len(tokens["input_ids"])}

    rows: Dataset = load_dataset("csv", data_files=file, split="train")
    train = rows.map(tokenise, remove_columns=rows.column_names)

    depth = teacher.config.num_hidden_layers // 2
    student = innerdistill.build_student(teacher, depth)
    plan = innerdistill.SchedulePlan(
        pairs={layer: 2 * layer for layer in range(1, depth + 1)},
        internal={"attention_kl": 1.0, "cls_cosine": 1.0},
        classification={"soft_labels": 1.0, "gold_labels": 1.0},
        recipe=innerdistill.ScheduleRecipe(name="sid", epochs_per_layer=epochs, classification_epochs=epochs),
    )
    records = innerdistill.distill_models(
        teacher,
        student,
        stages=innerdistill.build_stages(plan),
        setup=innerdistill.TrainingSetup(
            train=train,
            collate=DataCollatorWithPadding(tokenizer),
            trainer={"learning_rate": 1e-4, "per_device_train_batch_size": 32},
        ),
        folder=folder,
    )
    for record in records:
        print(f"{record.stage.name}: {record.steps} steps, {record.epochs[-1]['losses']}")
    return student


if __name__ == "__main__":
    for part in (distil(*sys.argv[1:3]), AutoTokenizer.from_pretrained(sys.argv[1])):
        part.save_pretrained("runs/in-memory/model")
