"""Tiny sentence encoders, written by sentence-transformers itself."""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

HIDDEN = 32


def write_sentence_model(folder, encoder, tokenizer, *modules, max_seq_length=None, **options):
    """Write an encoder with modules after it as the library does; returns the SentenceTransformer."""
    with tempfile.TemporaryDirectory() as plain:
        encoder.save_pretrained(plain)
        tokenizer.save_pretrained(plain)
        model = SentenceTransformer(modules=[Transformer(plain), *modules], device="cpu", **options)
    if max_seq_length is not None:
        model.max_seq_length = max_seq_length
    model.save_pretrained(str(folder), create_model_card=False)
    return model


def make_modules(mode="mean", *, size=HIDDEN, normalize=True, dense=None, seed=0):
    """Pooling, then perhaps Dense with as many outputs as `dense` says, then perhaps Normalize."""
    torch.manual_seed(seed)
    modules = [Pooling(size, mode)]
    if dense is not None:
        modules.append(Dense(modules[0].get_embedding_dimension(), dense))
    return [*modules, Normalize()] if normalize else modules


def rewrite_json(path, **changes):
    """Change some keys of a JSON file; None removes a key."""
    path = Path(path)
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def encode(folder, texts):
    """What sentence-transformers makes of some texts with the model of a folder."""
    embeddings = SentenceTransformer(str(folder), device="cpu").encode(list(texts))
    assert embeddings.dtype == np.float32
    return embeddings
