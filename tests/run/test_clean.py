"""Caches are listed and deleted by name, and nothing else is."""

import os
import time

import pytest

from innerdistill import distill
from innerdistill.run.clean import delete_caches, list_caches


@pytest.fixture
def caches(tmp_path):
    """A folder of teachers with other things in it, and a folder of token ids."""
    teachers, tokens = tmp_path / "teachers", tmp_path / "datasets" / "innerdistill"
    for folder in ("cola-0123456789ab", "rte-00000000000a", "targets/0123456789abcdef", "thesis", "targets/thesis"):
        (teachers / folder).mkdir(parents=True)
        (teachers / folder / "file").write_bytes(b"0" * 1000)
        (teachers / folder / "recipe.yaml").write_text("teacher: {base: models/minilm}\n")
    (teachers / "mine-0123456789ab").mkdir()  # no recipe: not a teacher
    (tmp_path / "outside-0123456789ab").mkdir()
    (tmp_path / "outside-0123456789ab" / "recipe.yaml").touch()
    (teachers / "link-0123456789ab").symlink_to(tmp_path / "outside-0123456789ab")
    tokens.mkdir(parents=True)
    (tokens / "a.arrow").write_bytes(b"0" * 500)
    for path in (teachers / "cola-0123456789ab").glob("*"):
        os.utime(path, (1000, 1000))
    os.utime(teachers / "cola-0123456789ab", (2000, 2000))
    return teachers, tokens


def test_entries_have_size_and_last_use(caches):
    entries = list_caches(*caches)
    names = {"cola-0123456789ab", "rte-00000000000a", "targets/0123456789abcdef", "tokens"}
    assert {entry.name for entry in entries} == names
    assert entries[0].name == "cola-0123456789ab" and entries[0].last_use.timestamp() == 2000
    assert entries[0].file_bytes == 1031 and entries[0].content == "unfinished teacher from minilm"
    assert all(time.time() - entry.last_use.timestamp() < 600 for entry in entries[1:])
    assert list_caches(caches[0] / "nowhere", caches[1] / "nowhere") == []


@pytest.mark.parametrize(
    "name", ["thesis", "targets", "mine-0123456789ab", "link-0123456789ab", "../outside-0123456789ab", ".", "/", "*"]
)
def test_what_is_not_an_entry_is_never_deleted(caches, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="--delete: no entry .* Entries: cola-0123456789ab, rte"):
        delete_caches(["tokens", name], *caches)
    assert sorted(tmp_path.rglob("*")) == before


def test_named_entries_are_deleted(caches):
    deleted, in_use = delete_caches(["tokens", "targets/0123456789abcdef", "tokens"], *caches)
    assert [entry.name for entry in deleted] == ["tokens", "targets/0123456789abcdef"] and in_use == []
    assert [entry.name for entry in list_caches(*caches)] == ["cola-0123456789ab", "rte-00000000000a"]


def test_the_caches_of_a_run_are_in_use_and_computed_again(recipe, tmp_path):
    teacher = {"epochs": 1, "folder": str(tmp_path / "teachers"), "targets": "cache"}
    content = recipe(tmp_path / "run", teacher=teacher, schedule={"name": "soft_labels", "total_steps": 4})
    distill(content)
    entries = {entry.name: entry for entry in list_caches(tmp_path / "teachers")}
    (fine_tuned,) = (name for name in entries if name.startswith("custom-"))
    assert entries[fine_tuned].in_use and entries["tokens"].in_use  # by this process
    assert delete_caches([fine_tuned], tmp_path / "teachers") == ([], [fine_tuned])
    outputs = [name for name in entries if name.startswith("targets/")]
    deleted, in_use = delete_caches(outputs, tmp_path / "teachers")
    assert len(deleted) == len(outputs) > 0 and in_use == []
    distill({**content, "overwrite": True})
    assert {entry.name for entry in list_caches(tmp_path / "teachers")} == set(entries)
