"""Names of installed packages: known without an import, loaded on use, and refused in one sentence."""

import sys

import pytest

from innerdistill.losses.loss import Loss
from innerdistill.losses.registry import LOSSES
from innerdistill.support.extensions import GROUPS, Registry, find_entry_points, find_packages


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay an installed package with entry points on the path: a module and its metadata, as pip does."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("my_plugin", "other_plugin"):  # of a test before in this process
        monkeypatch.delitem(sys.modules, module, raising=False)
    find_entry_points.cache_clear()

    def install(entries, *, code="", name="my-plugin", version="1.0", group="losses"):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        metadata = tmp_path / f"{module}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{entry} = {module}:{value}" for entry, value in entries.items()]
        (metadata / "entry_points.txt").write_text("\n".join([f"[innerdistill.{group}]", *lines, ""]))
        find_entry_points.cache_clear()
        return module

    yield install
    find_entry_points.cache_clear()
    for module in ("my_plugin", "other_plugin"):
        sys.modules.pop(module, None)


CODE = "from innerdistill import Loss\nMINE = Loss(lambda teacher, student: student, needs=('cls',))\nWRONG = 3\n"


def test_names_are_known_before_the_package_is_imported(install):
    module = install({"mine": "MINE"}, code=CODE)
    registry = Registry("losses", Loss, LOSSES.built_in)
    assert "mine" in registry and list(registry)[-1] == "mine" and len(registry) == len(LOSSES.built_in) + 1
    assert "mine" not in registry.built_in and "unknown" not in registry
    assert module not in sys.modules
    assert registry["mine"].needs == ("cls",) and module in sys.modules
    assert registry["mine"] is registry["mine"] is LOSSES["mine"]
    with pytest.raises(KeyError):
        registry["unknown"]


def test_the_package_of_a_name_is_found_for_the_record(install):
    install({"mine": "MINE"}, code=CODE)
    used = {"losses": ["cls_cosine", "mine"], "schedules": ["sid"]}
    assert find_packages(used) == {"losses.mine": "my-plugin 1.0"}


@pytest.mark.parametrize(
    ("entry", "code", "message"),
    [
        ("MINE", "import nothing_of_this_name", "my-plugin 1.0 cannot be imported: ModuleNotFoundError: No module"),
        ("MISSING", CODE, "my-plugin 1.0 cannot be imported: AttributeError"),
        ("WRONG", CODE, r"'mine' \(my_plugin:WRONG\) of the package my-plugin 1.0 is of the type int; expected Loss"),
    ],
)
def test_a_package_that_does_not_work_is_named(install, entry, code, message):
    install({"mine": entry}, code=code)
    with pytest.raises(ValueError, match=message):
        LOSSES["mine"]
    assert LOSSES["cls_cosine"].is_internal  # other names work


def test_two_owners_of_a_name_are_named(install):
    install({"cls_cosine": "MINE", "mine": "MINE"}, code=CODE)
    install({"mine": "MINE"}, code=CODE, name="other-plugin", version="2.0")
    with pytest.raises(ValueError, match="'cls_cosine' is registered by innerdistill and by my-plugin 1.0"):
        LOSSES["cls_cosine"]
    with pytest.raises(ValueError, match=r"by my-plugin 1\.0 and by other-plugin 2\.0; uninstall one"):
        LOSSES["mine"]


def test_an_entry_can_be_set_for_this_process():
    registry = Registry("losses", int, {"one": 1})
    registry["two"] = 2
    assert dict(registry) == {"one": 1, "two": 2}
    del registry["two"]
    assert "two" not in registry


@pytest.mark.parametrize("group", GROUPS)
def test_no_package_of_this_environment_registers_anything(group):
    assert not find_entry_points(group)
