"""Check that innerdistill, installed from its wheel without extras, trains, scores, predicts and reports.

python tools/check_wheel.py    # with the Python of an environment that has nothing but the wheel
"""

import csv
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import tokenizers
import transformers

from innerdistill.support.extras import EXTRAS, list_missing_packages

OFFLINE = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
WORDS = {"pos": ["good", "fine", "great"], "neg": ["bad", "poor", "awful"], "": ["a", "film", "and", "the", "plot"]}
LAZY = "import sys, innerdistill; sys.exit('torch' in sys.modules or 'innerdistill' not in sys.modules)"
RECIPE = """
data: {train: train.csv, validation: validation.csv, text: text}
teacher: {base: base, epochs: 4, allow_weak: true}
trainer: {learning_rate: 2e-3, per_device_train_batch_size: 16, use_cpu: true}
schedule: {epochs_per_layer: 1, classification_epochs: 1}
"""
SWEEP = f"recipe:{RECIPE.replace(chr(10), chr(10) + '  ')}\nmethods: {{SID: {{schedule.name: sid}}}}\nseeds: [1, 2]\n"
NO_ONNX = "needs the packages onnx, onnxscript and onnxruntime: pip install 'innerdistill[onnx]'."


def main() -> None:
    """Run the commands in a temporary folder; exit with 1 and a sentence if one does something else than it should."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_environment()
        write_inputs()
        check_commands()
    print("The wheel trains, scores, predicts and reports without extras.")


def check_environment() -> None:
    """Check that the package is the installed one, that no extra is, and that importing it does not import torch."""
    location = Path(str(importlib.util.find_spec("innerdistill").origin))
    require(Path(sys.prefix) in location.parents, f"{location} is not in {sys.prefix}")
    for extra, packages in EXTRAS.items():
        require(list_missing_packages(extra) == list(packages), f"the extra {extra} is installed")
    process = subprocess.run([sys.executable, "-c", LAZY], check=False)  # noqa: S603 - our own line
    require(process.returncode == 0, "importing innerdistill imports torch")


def check_commands() -> None:
    """Run the commands that a user would, without and with what needs an extra."""
    innerdistill("plan", "recipe.yaml")
    innerdistill("distill", "recipe.yaml", "output=run", "baseline=true")
    for name in ("model/model.safetensors", "run.json", "report.html", "baseline/run.json"):
        require(Path("run", name).is_file(), f"distill wrote no {name}")
    require(not Path("run", "tensorboard").exists(), "distill wrote TensorBoard files without the package")
    innerdistill("predict", "run", "validation.csv", "--output", "labelled.csv")
    with Path("labelled.csv").open(newline="") as file:
        require(len(list(csv.DictReader(file))) == 40, "predict did not write a line per text")
    innerdistill("evaluate", "recipe.yaml", "output=run")
    innerdistill("speed", "run", "--repeats", "3")
    innerdistill("report", "run")
    innerdistill("finetune", "recipe.yaml", "output=teacher")
    innerdistill("sweep", "sweep.yaml")
    for verb in ("distill", "finetune"):
        output = innerdistill(verb, "recipe.yaml", "output=other", "onnx=true", code=2)
        require(output == f"innerdistill: `onnx: true` {NO_ONNX}\n", f"{verb} with onnx=true says: {output}")
        require(not Path("other").exists(), f"{verb} with onnx=true wrote something before it was refused")
    output = innerdistill("export", "run", code=2)
    require(output == f"innerdistill: `export` {NO_ONNX}\n", f"export says: {output}")


def innerdistill(*words: str, code: int = 0) -> str:
    """Run the command line.

    Args:
        words: its words.
        code: exit code that is expected.

    Returns:
        What it printed.
    """
    command = [Path(sys.executable).with_name("innerdistill"), *words]
    environment = {**os.environ, **OFFLINE}
    process = subprocess.run(command, check=False, text=True, capture_output=True, env=environment)  # noqa: S603
    output = process.stdout + process.stderr
    require(process.returncode == code, f"innerdistill {' '.join(words)} ended with {process.returncode}:\n{output}")
    return output


def write_inputs() -> None:
    """Write a tiny random model, its tokenizer, data, a recipe and a sweep."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS["pos"], *WORDS["neg"], *WORDS[""]]
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(words)}, "[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=32, **special)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes)
    transformers.BertModel(config).save_pretrained("base")
    tokenizer.save_pretrained("base")
    generator = random.Random(0)  # noqa: S311 - nothing is secret
    for name, count in (("train.csv", 200), ("validation.csv", 40)):
        with Path(name).open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *(draw_example(generator) for _ in range(count))])
    Path("recipe.yaml").write_text(RECIPE)
    Path("sweep.yaml").write_text(SWEEP)


def draw_example(generator: random.Random) -> tuple[str, str]:
    """Draw a sentence of eight words, two of which tell its label.

    Args:
        generator: random numbers.

    Returns:
        Text and label.
    """
    label = generator.choice(["pos", "neg"])
    words = generator.choices(WORDS[label], k=2) + generator.choices(WORDS[""], k=6)
    generator.shuffle(words)
    return " ".join(words), label


def require(condition: bool, complaint: str) -> None:
    """Exit with a sentence if a condition does not hold.

    Args:
        condition: value that should be true.
        complaint: sentence to print if it is not, without its full stop.
    """
    if not condition:
        sys.exit(f"The wheel is wrong: {complaint}.")


if __name__ == "__main__":
    main()
