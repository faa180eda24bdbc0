"""Tiny real models, a real tokenizer and small data, made on the spot: no network, no mocks."""

import csv
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # read when NumPy and torch are imported, in the tests' own processes too
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp()  # and not among the user's own
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"  # without a GPU its kernels run as NumPy; read when triton is imported

import pytest
import torch
from datasets import Dataset
from filelock import FileLock
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from innerdistill.data.batches import make_collator
from innerdistill.models.probe import probe
from innerdistill.models.student import build_student
from innerdistill.training.arguments import make_training_arguments
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import StageRecord
from innerdistill.training.trainer import DistillationTrainer

GOOD, BAD = [f"good{n}" for n in range(8)], [f"bad{n}" for n in range(8)]
PLAIN = [f"word{n}" for n in range(24)]
torch.set_num_threads(1)  # tiny tensors: a second thread would only wait for the first
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *PLAIN]
WORDS = 128  # that a model knows; as usual the data hold fewer than half of them


LONG = ("test_several_processes.py", "test_sweep.py")


def pytest_collection_modifyitems(items):
    """Begin with the files that take long, or one worker ends long after the others."""
    with_slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in LONG, item.path not in with_slow))


@pytest.fixture(scope="session", autouse=True)
def session():
    gc.freeze()  # every stage of training collects garbage
    yield
    gc.unfreeze()
    shutil.rmtree(os.environ["HF_DATASETS_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def fill_once(tmp_path_factory):
    """A function that lets another fill a folder, once for all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the workers' common one
    shared = folder / "shared"
    shared.mkdir(exist_ok=True)

    def fill_once(name, fill):
        done = shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(shared / name, ignore_errors=True)  # of a worker that failed
                (shared / name).mkdir()
                fill(shared / name)
                done.touch()
        return shared / name

    return fill_once


@pytest.fixture(scope="session")
def preloaded_python():
    """An executable that runs commands as Python does, in processes in which the libraries are already imported."""
    with tempfile.TemporaryDirectory() as folder:
        program, address = Path(__file__).with_name("preloaded.py"), f"{folder}/socket"
        server = subprocess.Popen(
            [sys.executable, program, "--serve", address], stdin=subprocess.PIPE, start_new_session=True
        )
        while not Path(address).exists() and server.poll() is None:
            time.sleep(0.05)
        executable = Path(folder, "python")
        executable.write_text(f'#!/bin/sh\nexec {sys.executable} -S {program} {address} "$@"\n')
        executable.chmod(0o755)
        yield str(executable)
        server.communicate()


@pytest.fixture
def fast_start(preloaded_python, monkeypatch):
    """The commands that a test starts need not import the libraries again; that they can, other tests show."""
    monkeypatch.setattr(sys, "executable", preloaded_python)


def make_tokenizer(*names, **options):
    """A tokenizer of the tests' words that gives input ids, the attention mask and what is named."""
    vocabulary = {token: index for index, token in enumerate(VOCABULARY)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", *names, "attention_mask"],
        **options,
    )


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer("token_type_ids")


TOKENS = {"bos_token_id": 2, "eos_token_id": 3}
DISENTANGLED = {
    "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 8,
    "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip
PADDED_BY_1 = ("roberta", "xlm-roberta", "camembert", "mpnet", "roberta-prelayernorm", "data2vec-text")
FAMILY_OPTIONS = {  # what a small model of a family needs beside the options of BERT
    "mobilebert": {  # without a norm worth the name, activations would explode
        "embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32, "initializer_range": 0.05,
    },
    "modernbert": {
        **TOKENS, "local_attention": 8, "global_attn_every_n_layers": 3, "cls_token_id": 2, "sep_token_id": 3,
    },
    "ultrabert": {"num_key_value_heads": 2, "sliding_window": 4},
    "eurobert": {**TOKENS, "num_key_value_heads": 2, "mask_token_id": 4},
    "distilbert": {"dim": 32, "n_heads": 4, "hidden_dim": 64},
    "deberta": DISENTANGLED,
    "deberta-v2": {**DISENTANGLED, "position_buckets": 4, "share_att_key": True, "norm_rel_ebd": "layer_norm"},  # as v3
    "xlm-roberta-xl": {"pad_token_id": 1, "type_vocab_size": 2},  # two types, as the tests' tokenizer gives
    "jina_embeddings_v3": {"pad_token_id": 1, "type_vocab_size": 2},
    "gte": {"type_vocab_size": 2},
    **{name: {"pad_token_id": 1} for name in PADDED_BY_1},
}  # fmt: skip
DROPOUTS = {  # options beside those of BERT that say how much is dropped
    "modernbert": ("attention_dropout", "mlp_dropout"),
    "distilbert": ("dropout", "attention_dropout"),
    "esmc": ("attention_dropout", "classifier_dropout"),
    **dict.fromkeys(("ultrabert", "eurobert"), ("attention_dropout",)),
}
OTHER_NAMES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")  # DistilBERT's


def tiny_model(family="bert", *, layers=4, num_labels=2, seed=0, dropout=0.1, **changes):
    """A random model of a family, small enough for a test."""
    if family not in CONFIG_MAPPING:
        pytest.skip(f"this version of transformers does not have the family {family} yet")
    options = {
        "vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 66, "num_labels": num_labels, "pad_token_id": 0,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "initializer_range": 0.2,
    }  # fmt: skip
    if family == "distilbert":
        options = {name: value for name, value in options.items() if name not in OTHER_NAMES} | {"n_layers": layers}
    options |= FAMILY_OPTIONS.get(family, {}) | dict.fromkeys(DROPOUTS.get(family, ()), dropout)
    torch.manual_seed(seed)
    return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, **{**options, **changes})).eval()


@pytest.fixture
def make_model():
    return tiny_model


def sentence(generator):
    words = generator.choices(GOOD + BAD + PLAIN, k=generator.randint(3, 14))
    score = sum(word in GOOD for word in words) - sum(word in BAD for word in words)
    return " ".join(words), score


@pytest.fixture(scope="session")
def sentences():
    """Texts with the number of good words less the number of bad ones."""
    generator = random.Random(0)
    return [sentence(generator) for _ in range(900)]


@pytest.fixture(scope="session")
def data_folder(fill_once, sentences):
    """train.csv and validation.csv (string labels), scores.csv and scores_validation.csv (regression)."""

    def fill(folder):
        def write(name, header, rows):
            with (folder / name).open("w", newline="") as file:
                csv.writer(file).writerows([header, *rows])

        classes = [(text, "pos" if score > 0 else "neg") for text, score in sentences if score != 0]
        write("train.csv", ("text", "label"), classes[:500])
        write("validation.csv", ("text", "label"), classes[500:640])
        scores = [(text, score / 2) for text, score in sentences]
        write("scores.csv", ("text", "score"), scores[:600])
        write("scores_validation.csv", ("text", "score"), scores[600:800])
        write("unlabelled.csv", ("text",), [(text,) for text, _ in sentences[-100:]])

    return fill_once("data", fill)


@pytest.fixture(scope="session")
def base_folder(fill_once, tokenizer):
    """A `pre-trained` model: random weights, no head."""

    def fill(folder):
        tiny_model(layers=4, seed=3).base_model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return fill_once("base", fill)


TRAINER = {"learning_rate": 2e-3, "per_device_train_batch_size": 16, "use_cpu": True}


@pytest.fixture(scope="session")
def recipe(data_folder, base_folder, fill_once):
    """A recipe of a whole run as a mapping; the teacher is fine-tuned by the first test that needs it."""
    teachers = fill_once("teachers", lambda _: None)  # the package itself lets the others wait for the first

    def make(output, **sections):
        content = {
            "data": {
                "train": f"{data_folder}/train.csv",
                "validation": f"{data_folder}/validation.csv",
                "text": "text",
            },
            # Some tests fine-tune a teacher for one epoch, which may be too short.
            "teacher": {"base": str(base_folder), "epochs": 8, "folder": str(teachers), "allow_weak": True},
            "schedule": {"epochs_per_layer": 1, "classification_epochs": 2},
            "trainer": dict(TRAINER),
            "output": str(output),
        }
        for name, value in sections.items():
            merge = isinstance(value, dict) and isinstance(content.get(name), dict)
            content[name] = {**content[name], **value} if merge else value
        return content

    return make


@pytest.fixture
def swapped_teacher(teacher_folder, tmp_path):
    """The fine-tuned teacher with its label names in the wrong order."""
    folder = tmp_path / "swapped"
    shutil.copytree(teacher_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "pos", "1": "neg"}, {"pos": 0, "neg": 1}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def teacher_folder(recipe):
    """A fine-tuned teacher with 4 layers, made by the package itself: the one that runs of `recipe` have too."""
    from innerdistill import load_recipe
    from innerdistill.run.assemble import assemble
    from innerdistill.run.finetune import load_or_finetune_teacher

    return Path(load_or_finetune_teacher(assemble(load_recipe(recipe("unused")))).name_or_path)


@pytest.fixture
def batch():
    """Inputs of two examples, the second one padded."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, len(VOCABULARY), (2, 10), generator=generator)
    ids[:, 0], mask = 2, torch.ones(2, 10, dtype=torch.long)
    ids[1, 6:], mask[1, 6:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.fixture
def tokenised(tokenizer, sentences):
    texts, scores = zip(*sentences[:43], strict=True)
    encoded = tokenizer(list(texts))
    return Dataset.from_dict(
        {**encoded, "labels": [int(s > 0) for s in scores], "length": [len(ids) for ids in encoded["input_ids"]]}
    )


@pytest.fixture
def make_trainer(make_model, tokenizer, tokenised, tmp_path):
    def make(stage, *, dropout=0.1, options=None, teacher=None, student=None, pad_to=None, callbacks=(), **changes):
        teacher = teacher or make_model(dropout=dropout)
        student = student or build_student(teacher, 2)
        probe(teacher), probe(student)
        defaults = {"learning_rate": 1e-3, "per_device_train_batch_size": 8, "use_cpu": True, "logging_steps": 1}
        arguments = make_training_arguments(tmp_path, stage, {**defaults, **(options or {})}, seed=1, evaluate=False)
        return DistillationTrainer(
            student,
            arguments,
            setup=TrainingSetup(train=tokenised, collate=make_collator(tokenizer, pad_to=pad_to), **changes),
            record=StageRecord(stage),
            teacher=teacher,
            callbacks=callbacks,
        )

    return make


class Killed(BaseException):
    """What no code of the package catches."""


@pytest.fixture
def kill_after(monkeypatch):
    """A context in which training dies after some steps, and must have begun another one."""

    @contextmanager
    def kill(steps):
        step, left = DistillationTrainer.training_step, [steps]

        def stop(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return step(*args, **kwargs)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(DistillationTrainer, "training_step", stop)
            yield

    return kill


@pytest.fixture
def wandb_offline(tmp_path, monkeypatch):
    """W&B without a network, which writes into `tmp_path`. It reads its settings once in a process, so it is ended."""
    import wandb

    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb.teardown()
    yield
    wandb.teardown()
