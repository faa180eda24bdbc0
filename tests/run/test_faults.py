"""A full disk, a disk that cannot be written, damaged files: said in one sentence, and nothing is lost."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from innerdistill import distill
from innerdistill.cli.main import main
from innerdistill.data import arrow
from innerdistill.recipe.yaml import write_yaml

DAMAGES = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "other": lambda path: path.write_bytes(b"[1, 2]"),
    "bytes": lambda path: path.write_bytes(bytes(255 - byte for byte in path.read_bytes())),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.fixture
def small_disk(tmp_path):
    """A function that gives a disk of a size (kB), and the same disk with another size or read-only when asked again."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def give(kilobytes, *options):
        again = ["remount"] if os.path.ismount(folder) else []
        words = ["mount", "-t", "tmpfs", "-o", ",".join([*again, f"size={kilobytes}k", *options]), "tmpfs", str(folder)]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("mounting a disk of a given size needs the rights of root")
        return folder

    yield give
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


@pytest.fixture
def write_recipe(recipe, tmp_path):
    def write(output, **sections):
        path = tmp_path / "recipe.yaml"
        sections = {"teacher": {"epochs": 1, "folder": f"{output}/../teachers", "targets": "cache"}, **sections}
        sections |= {"data": {"train_rows": 80}, "schedule": {"total_steps": 12}}
        path.write_text(write_yaml(recipe(output, checkpoint_minutes=0, **sections)))
        return str(path)

    return write


@pytest.mark.slow
def test_a_run_on_a_full_disk_goes_on_once_there_is_room(write_recipe, small_disk, tmp_path, capfd):
    assert main(["distill", write_recipe(tmp_path / "roomy" / "run")]) == 0
    capfd.readouterr()
    disk = small_disk(100)
    command = ["distill", write_recipe(disk / "run")]
    failures, size = 0, 100
    while (code := main(command)) != 0:
        said = capfd.readouterr().err
        assert code == 2 and "Traceback" not in said and said.count("innerdistill: ") == 1, said
        assert "No space left on device" in said, said
        failures, size = failures + 1, size + 650
        small_disk(size)
    assert failures >= 4
    model = "run/model/model.safetensors"
    assert (disk / model).read_bytes() == (tmp_path / "roomy" / model).read_bytes()
    assert not [path for path in disk.rglob("*") if "partial" in path.name]


def test_nothing_is_written_where_nothing_can_be(write_recipe, small_disk, capfd):
    disk = small_disk(100)
    small_disk(100, "ro")
    assert main(["distill", write_recipe(disk / "run")]) == 2
    assert f"output: {disk / 'run'} cannot be written (Read-only file system)" in " ".join(
        capfd.readouterr().err.split()
    )


def test_data_that_find_no_room_are_refused_and_where_nothing_can_be_written_they_stay_in_memory(
    write_recipe, small_disk, tmp_path, monkeypatch, capfd
):
    disk = small_disk(8)
    monkeypatch.setattr(arrow, "find_cache", lambda: disk)
    assert main(["plan", write_recipe(tmp_path / "run")]) == 2
    assert f"{disk}: the data cannot be written there (No space left on device)" in " ".join(
        capfd.readouterr().err.split()
    )
    small_disk(8, "ro")
    assert main(["plan", write_recipe(tmp_path / "run")]) == 0


@pytest.fixture(scope="module")
def finished(recipe, teacher_folder, tmp_path_factory):
    """A finished run, which tests copy and damage."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return distill(recipe(folder, teacher={"path": str(teacher_folder), "base": None}, schedule={"total_steps": 6}))


READ_BY = {
    "model/config.json": ("predict", "speed"),
    "model/model.safetensors": ("predict", "speed"),
    "model/tokenizer.json": ("predict",),
    "model/tokenizer_config.json": ("predict",),
    "run.json": ("report", "predict", "distill", "submit"),
    "predictions.parquet": ("report",),
    "examples.json": ("report",),
    "recipe.yaml": ("distill",),
}


@pytest.mark.parametrize("name", READ_BY)
def test_a_damaged_file_is_named_or_done_without(name, finished, data_folder, tmp_path, capfd):
    for damage, apply in DAMAGES.items():
        for verb in READ_BY[name]:
            run = tmp_path / f"{verb}-{damage}"
            shutil.copytree(finished, run)
            apply(run / name)
            out = tmp_path / f"{verb}-{damage}.csv"
            words = {
                "predict": [str(run), f"{data_folder}/validation.csv", "--text", "text", "--output", str(out)],
                "distill": [str(finished / "recipe.yaml"), f"output={run}"],
                "speed": [str(run / "model"), "--repeats", "1"],
                "submit": [str(run), "--output", str(tmp_path / "out.zip")],
            }.get(verb, [str(run)])
            code = main([verb, *words])
            said = " ".join(capfd.readouterr().err.split())
            assert code in (0, 2), said
            if code == 2:
                assert said.count("innerdistill: ") == 1 and not out.exists(), said
                assert Path(name).name in said or "run" in said or "model" in said, said
