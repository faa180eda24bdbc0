"""Make base models of other families where no real ones can be fetched: demo-data/deberta, distilbert and qwen3.

Nobody has pre-trained their layers, which are random. They have 6 layers and the hidden size of MiniLM (384), its words
and its embeddings of them, from prepare_demo.py. They show how a family is used and what it costs, not what a
pre-trained model of the family can do.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from prepare_demo import FOLDER
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

BERT_NAMES = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
SHAPES: dict[str, dict[str, Any]] = {
    "deberta-v2": {  # the options of microsoft/deberta-v3-base, apart from the sizes
        **BERT_NAMES,
        "relative_attention": True,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "max_relative_positions": -1,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
    },
    "distilbert": {"n_layers": 6, "dim": 384, "n_heads": 12, "hidden_dim": 1536},
    "qwen3": {**BERT_NAMES, "num_key_value_heads": 4, "head_dim": 32, "max_position_embeddings": 512},
}
NAMES = {"deberta-v2": "deberta"}  # of folders, where they are not the family's


def main() -> None:
    """Write the folders that do not exist yet."""
    words = AutoModel.from_pretrained(FOLDER / "minilm").get_input_embeddings()
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "minilm")
    for family, options in SHAPES.items():
        folder = FOLDER / NAMES.get(family, family)
        if folder.is_dir():
            print(f"{folder}/ already exists.")
            continue
        torch.manual_seed(0)
        ids = {"vocab_size": words.num_embeddings, "pad_token_id": tokenizer.pad_token_id}
        if family == "qwen3":
            ids |= {"pad_token_id": None, "bos_token_id": None, "eos_token_id": tokenizer.sep_token_id}
        model = AutoModel.from_config(AutoConfig.for_model(family, **options, **ids))
        model.set_input_embeddings(words)
        write_folder(folder, model, read_as_decoders_do(tokenizer) if family == "qwen3" else tokenizer)
        print(f"{folder}/: 6 layers, hidden size 384, random layers.")


def read_as_decoders_do(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer of the same words that adds no [CLS] or [SEP] and has no padding token."""
    core = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    core.post_processor = None
    core.no_padding()
    core.no_truncation()
    ends = {"unk_token": tokenizer.unk_token, "eos_token": tokenizer.sep_token}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=512, **ends)


def write_folder(folder: Path, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write model and tokenizer, all or nothing."""
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    main()
