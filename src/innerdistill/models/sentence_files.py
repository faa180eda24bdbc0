"""SentenceFiles: what the folder of a sentence-transformers model says beside the encoder's own files.

modules.json                       the modules in their order: Transformer, Pooling, then perhaps Dense and Normalize
1_Pooling/config.json              options of a module; of Dense also model.safetensors
sentence_bert_config.json          how texts become tokens
config_sentence_transformers.json  prompts, similarity function, number of dimensions that `encode` keeps

Nothing here imports the library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from transformers import PretrainedConfig
from transformers.utils import cached_file

from innerdistill.models.config_file import CONFIG, MODEL_TYPE, MODULES, SETTINGS
from innerdistill.models.heads import HEAD_CLASSES
from innerdistill.support.messages import get_first_line, join_names, shorten_value

TRANSFORMER_CONFIG = "sentence_bert_config.json"
OLD_FAMILIES = ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")  # of older names of that file
TRANSFORMER = "Transformer"
SUPPORTED = ("Pooling", "Dense", "Normalize")  # what may follow it
HARMLESS = {"attn_implementation", "device_map", "dtype", "torch_dtype", "trust_remote_code"}  # options of loading
LIKE_HERE = {"method": "forward", "method_output_name": "last_hidden_state"}  # how a text is encoded


class ModelFilesError(ValueError):
    """What is wrong with the files of a sentence encoder, in one sentence."""


@dataclass(frozen=True)
class SentenceModule:
    """A module after the encoder.

    Attributes:
        name: its name in the model.
        path: its folder.
        type: its class, as modules.json names it.
        stored: options in its folder, as they are there.
        options: the same under the names of the installed library.
    """

    name: str
    path: str
    type: str
    stored: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """One of SUPPORTED."""
        return get_kind(self.type)


@dataclass(frozen=True)
class SentenceFiles:
    """Contents of the files. As a dict it stands in the configuration of a SentenceEncoder.

    Attributes:
        modules: modules after the encoder.
        first: the encoder's entry in modules.json.
        transformer: content of sentence_bert_config.json.
        settings: content of config_sentence_transformers.json.
        has_pooler: whether the encoder's files hold the pooler of transformers, which no embedding reads.
    """

    modules: list[SentenceModule]
    first: dict[str, Any]
    transformer: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    has_pooler: bool = True

    @classmethod
    def from_config(cls, config: PretrainedConfig) -> SentenceFiles:
        """Read them from the configuration of a SentenceEncoder.

        Args:
            config: its configuration.

        Returns:
            The contents.
        """
        content = dict(config.sentence_encoder)
        return cls(**{**content, "modules": [SentenceModule(**module) for module in content["modules"]]})

    @property
    def prompt(self) -> str:
        """Text that `encode` puts before every text; empty for none."""
        name = self.settings.get("default_prompt_name")
        return "" if name is None else str((self.settings.get("prompts") or {}).get(name) or "")

    def find_prompt(self, *names: str) -> str:
        """Find the text that `encode_query` or `encode_document` puts before a text.

        Args:
            *names: names of prompts, the first of which that the model has counts.

        Returns:
            The prompt, which may be empty; that of every text if it has none of them.
        """
        prompts = self.settings.get("prompts") or {}
        return next((str(prompts[name] or "") for name in names if name in prompts), self.prompt)

    @property
    def counts_prompt(self) -> bool:
        """Whether the tokens of a prompt are pooled with those of the text."""
        return all(module.stored.get("include_prompt") is not False for module in self.modules)

    @property
    def max_seq_length(self) -> int | None:
        """Most tokens of a text; None where the tokenizer says it."""
        return self.transformer.get("max_seq_length")

    @property
    def truncate_dim(self) -> int | None:
        """Number of dimensions that `encode` keeps; None for all."""
        return self.settings.get("truncate_dim")

    def list_entries(self) -> list[dict[str, Any]]:
        """List the entries of modules.json."""
        entries = [self.first]
        for index, module in enumerate(self.modules, start=1):
            entries.append({"idx": index, "name": module.name, "path": module.path, "type": module.type})
        return entries


def mark_sentence_encoder(name: str, config: PretrainedConfig) -> None:
    """Mark the configuration of a model whose files make it a sentence encoder, so that its head is known by it.

    Args:
        name: folder or name of the model.
        config: its configuration; gets the key `sentence_encoder` if they do.
    """
    has_head = any(each.endswith(HEAD_CLASSES) for each in config.architectures or ())
    if has_head or (path := find_file(name, MODULES)) is None:
        return
    settings = find_file(name, SETTINGS)
    try:
        model_type = MODEL_TYPE if settings is None else read_object(settings).get("model_type", MODEL_TYPE)
    except ModelFilesError:  # who loads it as a sentence encoder is told
        model_type = MODEL_TYPE
    if model_type == MODEL_TYPE:
        config.sentence_encoder = str(path)


def find_file(name: str, file: str) -> Path | None:
    """Find a file of a model.

    Args:
        name: folder or name of the model.
        file: path inside the folder.

    Returns:
        Its path on this machine; None if the model has no such file.
    """
    if Path(name).is_dir():
        return Path(name, file) if Path(name, file).is_file() else None
    try:
        found = cached_file(name, file)
    except OSError:  # the model has none, or nothing of that name is there
        return None
    return None if found is None else Path(found)


def read_sentence_files(name: str) -> SentenceFiles:
    """Read and check the files of a sentence-transformers model.

    Args:
        name: folder or name of the model.

    Returns:
        Their contents. The modules have no `options` yet.

    Raises:
        ModelFilesError: a file that is missing or broken, or something that is not supported; it is named.
    """
    entries = _read_entries(name)
    first, *others = entries
    kinds = [get_kind(entry["type"]) for entry in entries]
    for kind, entry in zip(kinds[1:], others, strict=True):
        if kind not in SUPPORTED:
            raise ModelFilesError(
                f"{name}: modules.json names the module {shorten_value(entry['type'])}, which is not supported; after "
                f"the Transformer only {join_names(SUPPORTED)} are."
            )
    if kinds[0] != TRANSFORMER:
        raise ModelFilesError(
            f"{name}: the first module of modules.json is {shorten_value(first['type'])}, which is not supported; "
            "expected a Transformer."
        )
    if first["path"]:
        raise ModelFilesError(
            f"{name}: its Transformer lies in the folder {shorten_value(first['path'])}; write the model again with "
            "SentenceTransformer(folder).save_pretrained(other_folder)."
        )
    modules = []
    for entry in others:
        stored = _read_json(name, f"{entry['path']}/{CONFIG}")
        modules.append(SentenceModule(entry["name"], entry["path"], entry["type"], stored))
    files = SentenceFiles(modules, first, _read_transformer(name), _read_json(name, SETTINGS))
    _check_transformer(name, files.transformer)
    _check_settings(name, files)
    return files


def get_kind(type_name: str) -> str:
    """Get the class of a module without its package, which has changed over the versions of the library.

    Args:
        type_name: class with its package.

    Returns:
        Name of the class; the whole name if it is not the library's own.
    """
    package, _, name = type_name.rpartition(".")
    return name if package.split(".")[0] == "sentence_transformers" else type_name


def _read_entries(name: str) -> list[dict[str, Any]]:
    path = find_file(name, MODULES)
    if path is None:
        raise ModelFilesError(
            f"{name}: it has no {MODULES}, so nothing says how one embedding is made of those of the tokens; of a "
            "teacher, teacher.pooling says it, for example mean."
        )
    entries = _load(path)
    wanted = {"name", "path", "type"}
    if not isinstance(entries, list) or not entries:
        raise ModelFilesError(f"{path}: expected a list of modules, got {shorten_value(entries)}.")
    for entry in entries:
        if not isinstance(entry, Mapping) or not wanted <= entry.keys():
            raise ModelFilesError(f"{path}: expected modules with name, path and type, got {shorten_value(entry)}.")
        folder, is_text = PurePosixPath(str(entry["path"])), all(isinstance(entry[key], str) for key in wanted)
        if not is_text or folder.is_absolute() or ".." in folder.parts:
            raise ModelFilesError(f"{path}: expected a module in a folder of the model, got {shorten_value(entry)}.")
    return [dict(entry) for entry in entries]


def _read_transformer(name: str) -> dict[str, Any]:
    for file in (TRANSFORMER_CONFIG, *(f"sentence_{family}_config.json" for family in OLD_FAMILIES)):
        if content := _read_json(name, file):
            return content
    return {}


def _check_transformer(name: str, content: Mapping[str, Any]) -> None:
    """Refuse options by which texts would get other tokens, or other embeddings of them, than here."""
    refused = {}
    if content.get("transformer_task", "feature-extraction") != "feature-extraction":
        refused["transformer_task"] = content["transformer_task"]
    if content.get("processing_kwargs"):
        refused["processing_kwargs"] = content["processing_kwargs"]
    for key in ("model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs", "config_kwargs"):
        if (content.get(key) or {}).keys() - HARMLESS:
            refused[key] = content[key]
    if (modalities := content.get("modality_config")) is not None:
        text = modalities.get("text") or {}
        if {key: text.get(key) for key in LIKE_HERE} != LIKE_HERE or "message" in modalities:
            refused["modality_config"] = modalities
        elif content.get("module_output_name") != "token_embeddings":
            refused["module_output_name"] = content.get("module_output_name")
    for key, value in refused.items():
        raise ModelFilesError(
            f"{name}: {key} in its {TRANSFORMER_CONFIG} is {shorten_value(value)}; this is not supported."
        )
    length = content.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise ModelFilesError(f"{name}: max_seq_length in its {TRANSFORMER_CONFIG} is {shorten_value(length)}.")


def _check_settings(name: str, files: SentenceFiles) -> None:
    settings = files.settings
    if (model_type := settings.get("model_type", MODEL_TYPE)) != MODEL_TYPE:
        raise ModelFilesError(f"{name}: its {SETTINGS} says that it is a {model_type}; expected a {MODEL_TYPE}.")
    prompts, default, size = settings.get("prompts") or {}, settings.get("default_prompt_name"), files.truncate_dim
    if not isinstance(prompts, dict) or (default is not None and default not in prompts):
        raise ModelFilesError(
            f"{name}: its {SETTINGS} names the default prompt {shorten_value(default)}, but has the prompts "
            f"{shorten_value(prompts)}."
        )
    if size is not None and (type(size) is not int or size < 1):
        raise ModelFilesError(
            f"{name}: truncate_dim in its {SETTINGS} is {shorten_value(size)}; expected a whole number."
        )
    for module in files.modules:
        if files.prompt and module.stored.get("include_prompt") is False:
            raise ModelFilesError(
                f"{name}: its default prompt is {shorten_value(files.prompt)}, and its pooling leaves out the tokens "
                "of a prompt (include_prompt); this is not supported."
            )


def _read_json(name: str, file: str) -> dict[str, Any]:
    """Content of a file of a model; nothing if it has no such file."""
    path = find_file(name, file)
    return {} if path is None else read_object(path)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: path of the file.

    Returns:
        The object.

    Raises:
        ModelFilesError: the file cannot be read, or holds something else.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise ModelFilesError(f"{path}: expected a JSON object, got {shorten_value(content)}.")
    return content


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFilesError(f"{path}: cannot be read as JSON ({get_first_line(error)}).") from None
