"""SentenceEncoder: an encoder with the modules of sentence-transformers that make one embedding of those of the tokens.

It is loaded from the files of a sentence-transformers model and saved as such files. Its output `logits` are the
embeddings of SentenceTransformer.encode. In a configuration that belongs to one, `sentence_encoder` holds the contents
of its SentenceFiles.

Shapes: B texts, L tokens, D dimensions of an embedding.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from safetensors.torch import load_file
from tokenizers import normalizers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import ModelOutput

from innerdistill.models.config_file import CONFIG, MODULES, SETTINGS
from innerdistill.models.onnx_files import OF_TOKENS
from innerdistill.models.sentence_files import (
    TRANSFORMER_CONFIG,
    ModelFilesError,
    SentenceFiles,
    find_file,
    read_sentence_files,
)
from innerdistill.models.sentence_modules import (
    build_module,
    check_sizes,
    describe_pooling,
    read_options,
)
from innerdistill.support.extras import require_extra
from innerdistill.support.files import write_json
from innerdistill.support.progress import quiet_libraries

EXTRA = "sentence-transformers"
WEIGHTS = "model.safetensors"
PROMPT_NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}  # by role, the first that is there
ONNX_OUTPUTS = ("sentence_embedding", OF_TOKENS)  # names in an ONNX file of what SentenceOutput holds


@dataclass
class SentenceOutput(ModelOutput):
    """What a SentenceEncoder returns.

    Attributes:
        logits: embeddings of the texts. (B, D)
        last_hidden_state: activations of the tokens after the last layer. (B, L, hidden)
    """

    logits: Tensor | None = None
    last_hidden_state: Tensor | None = None


class SentenceEncoder(PreTrainedModel):
    """An encoder and the modules that make one embedding of those of the tokens.

    Attributes:
        encoder: model of transformers without a head. Its configuration is that of the files.
        further: modules after it: Pooling, Dense, Normalize.
    """

    base_model_prefix = "encoder"
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: PretrainedConfig, encoder: PreTrainedModel | None = None) -> None:
        """Build the model. What is not given is random.

        Args:
            config: configuration with `sentence_encoder`; its `num_labels` becomes D.
            encoder: model of transformers without a head.
        """
        files = SentenceFiles.from_config(config)
        encoder = encoder or AutoModel.from_config(_clean_config(config))
        super().__init__(config)
        self.encoder = encoder
        self.supports_gradient_checkpointing = encoder.supports_gradient_checkpointing
        if not files.has_pooler:
            self.encoder.pooler = None
        self.further = nn.ModuleList(build_module(module.kind, module.options) for module in files.modules)
        self.truncate_dim = files.truncate_dim
        size = check_sizes(str(config.name_or_path), files, hidden_size=config.hidden_size)
        config.num_labels = min(size, files.truncate_dim or size)
        config._attn_implementation_internal = encoder.config._attn_implementation_internal
        self._inputs = set(inspect.signature(encoder.forward).parameters)
        self.post_init()

    def init_weights(self) -> None:
        """Leave all weights as they are: each part has been initialised by its own class."""

    def set_attn_implementation(
        self, attn_implementation: str | dict[str, Any], allow_all_kernels: bool = False
    ) -> None:
        """Set how attention is computed. Older transformers pass over an encoder with the same configuration class.

        Args:
            attn_implementation: name in transformers' AttentionInterface.
            allow_all_kernels: as in transformers.
        """
        self.encoder.set_attn_implementation(attn_implementation, allow_all_kernels=allow_all_kernels)
        self.config._attn_implementation_internal = self.encoder.config._attn_implementation_internal

    def requires_grad_(self, requires_grad: bool = True) -> SentenceEncoder:
        """Say whether weights are trained. The pooler of transformers is not: no embedding reads it.

        Args:
            requires_grad: whether they are.

        Returns:
            The model.
        """
        super().requires_grad_(requires_grad)
        for name, parameter in self.encoder.named_parameters():
            if name.startswith("pooler."):
                parameter.requires_grad = False
        return self

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **options: Any,
    ) -> SentenceOutput:
        """Compute the embeddings of texts.

        Args:
            input_ids: token ids. (B, L)
            attention_mask: 1 for real tokens, 0 for padding; None for no padding. (B, L)
            token_type_ids: types of the tokens; an encoder without types does not get them. (B, L)
            **options: passed on to the encoder.

        Returns:
            Embeddings, and the activations they are made of.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        given = {name: value for name, value in inputs.items() if value is not None and name in self._inputs}
        hidden = self.encoder(**given, **{**options, "return_dict": True}).last_hidden_state
        features = {"token_embeddings": hidden}
        if attention_mask is not None:
            features["attention_mask"] = attention_mask
        for module in self.further:
            features = module(features)
        return SentenceOutput(features["sentence_embedding"][:, : self.truncate_dim], hidden)

    @classmethod
    def from_pretrained(
        cls, name: str, *, pooling: str | None = None, like: SentenceEncoder | None = None, **options: Any
    ) -> Any:
        """Load a sentence-transformers model.

        Args:
            name: folder or name of the model.
            pooling: how one embedding is made of those of the tokens, for an encoder whose files do not say it: a
                pooling mode of the library, such as `mean` or `cls`.
            like: sentence encoder whose modules and settings it gets; those that its own files name are not read.
            **options: of AutoModel.from_pretrained.

        Returns:
            The model; with `output_loading_info` also the report of transformers on its weights.

        Raises:
            ModelFilesError: files that are missing or broken, or a module that is not supported.
        """
        _require_library()
        files = None if like is None else SentenceFiles.from_config(like.config)
        if files is None:
            files = _read_files(name) if pooling is None else _describe_encoder(name, pooling)
        encoder, report = AutoModel.from_pretrained(name, **{**options, "output_loading_info": True})
        poolers = {key for key in report["missing_keys"] if key.startswith("pooler.")}
        report["missing_keys"] = set(report["missing_keys"]) - poolers
        has_pooler = not poolers and getattr(encoder, "pooler", None) is not None
        config = copy.deepcopy(encoder.config)
        config.sentence_encoder = asdict(replace(files, has_pooler=has_pooler))
        with torch.random.fork_rng(devices=[]):
            model = cls(config, encoder)
        if like is not None:
            model.further.load_state_dict(like.further.state_dict())
        else:
            model._load_modules(name, files)
        prefixed = {
            key: [_add_prefix(entry) for entry in report[key]]
            for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
        }
        return (model, {**report, **prefixed}) if options.get("output_loading_info") else model

    @classmethod
    def from_config(cls, config: PretrainedConfig) -> SentenceEncoder:
        """Build a random model of a configuration, as `read_config` reads it.

        Args:
            config: configuration of a folder or name that has the files of a sentence-transformers model.

        Returns:
            The model.

        Raises:
            ModelFilesError: as `from_pretrained`.
        """
        _require_library()
        name, config = str(config.name_or_path), copy.deepcopy(config)
        if not isinstance(config.sentence_encoder, dict):
            config.sentence_encoder = asdict(_read_files(name))
        return cls(config)

    def _load_modules(self, name: str, files: SentenceFiles) -> None:
        """Load the weights of the modules that have some."""
        for module, described in zip(self.further, files.modules, strict=True):
            if not (wanted := module.state_dict()):
                continue
            where = f"{described.path}/{WEIGHTS}"
            path = find_file(name, where)
            if path is None:
                raise ModelFilesError(
                    f"{name}: {where} is missing; only safetensors are read. If you trust a pickle there, write the "
                    "model again with SentenceTransformer(folder).save_pretrained(other_folder)."
                )
            weights = load_file(path)
            for key in wanted.keys() | weights.keys():
                shape, expected = (list(part[key].shape) if key in part else None for part in (weights, wanted))
                if shape != expected:
                    raise ModelFilesError(
                        f"{name}: {where} holds {key} as {shape}, but its {CONFIG} asks for {expected}; one of them "
                        "is wrong."
                    )
            module.load_state_dict({key: value.to(wanted[key].dtype) for key, value in weights.items()})


def save_sentence_encoder(model: PreTrainedModel, folder: Path, *, max_length: int | None = None) -> None:
    """Save a sentence encoder as a folder that sentence-transformers and AutoModel load.

    Args:
        model: the SentenceEncoder.
        folder: folder to write into. The tokenizer is not written.
        max_length: most tokens of a text; None keeps what the model was loaded with.
    """
    assert isinstance(model, SentenceEncoder)
    files = SentenceFiles.from_config(model.config)
    model.encoder.save_pretrained(folder)
    transformer = files.transformer if max_length is None else {**files.transformer, "max_seq_length": max_length}
    write_json(folder / TRANSFORMER_CONFIG, transformer)
    write_json(folder / SETTINGS, files.settings)
    write_json(folder / MODULES, files.list_entries())
    further: Iterable[Any] = model.further
    for module, described in zip(further, files.modules, strict=True):
        (folder / described.path).mkdir(parents=True, exist_ok=True)
        if module.state_dict():
            module.save(str(folder / described.path))
        write_json(folder / described.path / CONFIG, described.stored)  # as it was read, for every version


def adjust_tokenizer(tokenizer: PreTrainedTokenizerBase, model: SentenceEncoder) -> None:
    """Let a tokenizer do what the files of its model ask for. `read_prompt` reads what stands before every text.

    Args:
        tokenizer: tokenizer of the model; changed in place. Its saved files do not hold the prompt.
        model: the model.
    """
    files = SentenceFiles.from_config(model.config)
    tokenizer.sentence_prompt = files.prompt
    tokenizer.search_prompts = {role: files.find_prompt(*names) for role, names in PROMPT_NAMES.items()}
    tokenizer.counts_prompt = files.counts_prompt
    if files.max_seq_length is not None:
        tokenizer.model_max_length = files.max_seq_length
    core = getattr(tokenizer, "backend_tokenizer", None)
    if files.transformer.get("do_lower_case") and core is not None:
        steps = [] if core.normalizer is None else [core.normalizer]
        if isinstance(core.normalizer, normalizers.Sequence):
            steps = list(cast("Iterable[Any]", core.normalizer))
        if not any(isinstance(step, normalizers.Lowercase) for step in steps):
            core.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


def read_prompt(tokenizer: PreTrainedTokenizerBase) -> str:
    """Read the text that stands before every text, as SentenceTransformer.encode puts it there.

    Args:
        tokenizer: tokenizer from `load_tokenizer`.

    Returns:
        The default prompt of the model, such as `query: `; empty for none.
    """
    return str(getattr(tokenizer, "sentence_prompt", ""))


def read_search_prompts(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Read the texts that stand before queries and documents, as `encode_query` and `encode_document` put them there.

    Args:
        tokenizer: tokenizer from `load_tokenizer`.

    Returns:
        Prompts by role, `query` and `document`; empty for none.

    Raises:
        ValueError: the model does not pool the tokens of its prompts.
    """
    prompts: dict[str, str] = getattr(tokenizer, "search_prompts", dict.fromkeys(PROMPT_NAMES, ""))
    if any(prompts.values()) and not getattr(tokenizer, "counts_prompt", True):
        raise ValueError(
            f"{tokenizer.name_or_path}: its pooling leaves out the tokens of a prompt (include_prompt), and it has "
            "prompts for queries or documents; this is not supported."
        )
    return prompts


def is_sentence_transformer(value: Any) -> bool:
    """Tell whether an object is a SentenceTransformer. The library is not imported for that.

    Args:
        value: any object.

    Returns:
        True if it is one.
    """
    library = sys.modules.get("sentence_transformers")
    return library is not None and isinstance(value, library.SentenceTransformer)


@quiet_libraries()
def take_apart(model: Any) -> SentenceEncoder:
    """Make a SentenceEncoder of a SentenceTransformer in memory, with the same weights.

    Args:
        model: the SentenceTransformer; not changed.

    Returns:
        A SentenceEncoder of its own.

    Raises:
        ModelFilesError: as `SentenceEncoder.from_pretrained`, without the temporary folder's name.
    """
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder, create_model_card=False)
        try:
            encoder: SentenceEncoder = SentenceEncoder.from_pretrained(folder, dtype="float32", use_safetensors=True)
        except ModelFilesError as error:
            raise ModelFilesError(str(error).replace(folder, f"the {type(model).__name__}")) from None
    return encoder.eval()


def _require_library() -> None:
    try:
        require_extra(EXTRA, key="data.problem_type: sentence_similarity")
    except ValueError as error:
        raise ModelFilesError(str(error)) from None


def _read_files(name: str) -> SentenceFiles:
    files = read_sentence_files(name)
    return replace(files, modules=[read_options(name, module) for module in files.modules])


def _describe_encoder(name: str, pooling: str) -> SentenceFiles:
    """What the files of a plain encoder would say if it pooled its tokens in this way."""
    if find_file(name, MODULES):
        raise ModelFilesError(f"{name}: its {MODULES} says how it pools; leave teacher.pooling out.")
    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    module, first = describe_pooling(pooling, hidden_size=config.hidden_size)
    return SentenceFiles([module], first)


def _clean_config(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration of the encoder alone."""
    config = copy.deepcopy(config)
    del config.sentence_encoder
    config.num_labels = 2  # as transformers has it where nobody says anything, so that config.json has no labels
    return config


def _add_prefix(entry: Any) -> Any:
    """Name a weight of the encoder as the whole model does; of a mismatch, the name is the first of three parts."""
    prefix = f"{SentenceEncoder.base_model_prefix}."
    return prefix + entry if isinstance(entry, str) else (prefix + entry[0], *entry[1:])
