"""Entries of a cache are marked as in use, until their process ends or is killed."""

import os
import signal
import subprocess
import sys

from innerdistill.support.in_use import hold, is_in_use

HOLD = """
import sys, pathlib
from innerdistill.support.in_use import hold_until_exit
hold_until_exit(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def list_marks(folder):
    return [path.name for path in folder.iterdir() if ".use-" in path.name]


def test_an_entry_is_in_use_as_long_as_its_mark_lives(tmp_path):
    entry = tmp_path / "cola-0123456789ab"
    entry.mkdir()
    os.utime(entry, (0, 0))
    first, second = hold(entry), hold(entry)
    assert is_in_use(entry) and entry.stat().st_mtime > 0
    del first
    assert is_in_use(entry) and not is_in_use(tmp_path / "cola-0123456789cd")
    del second
    assert not is_in_use(entry) and not list_marks(tmp_path)


def test_a_killed_process_uses_nothing(tmp_path):
    entry = tmp_path / "cola-0123456789ab"
    for is_killed in (False, True):
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, entry], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "held\n"
            assert is_in_use(entry)
            if is_killed:
                process.send_signal(signal.SIGKILL)
        assert len(list_marks(tmp_path)) == is_killed
        assert not is_in_use(entry) and not list_marks(tmp_path)


def test_a_place_that_cannot_be_written_holds_nobody_up(tmp_path):
    (tmp_path / "file").touch()
    assert not hold(tmp_path / "file" / "entry").is_locked
