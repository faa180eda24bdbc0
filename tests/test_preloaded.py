"""The Python of tests that start many commands: its processes are like those of Python itself."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SAY = """
import os, sys
import torch
print(sys.argv, os.getcwd(), torch.get_num_threads(), os.environ.get("WORD"), sys.stdin.read())
"""
END = {
    "sys.exit(3)": 3,
    "sys.exit()": 0,
    "sys.exit('wrong')": 1,
    "1 / 0": 1,
    "os.kill(os.getpid(), 9)": -9,
    "os.kill(os.getpid(), 15)": -15,
}
WAIT = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()} '); time.sleep(100)"


def run(python, *words, **options):
    return subprocess.run([python, *words], capture_output=True, text=True, check=False, **options)


def test_a_command_has_its_own_words_folder_environment_and_streams(preloaded_python, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "2", "WORD": "ours"}
    options = {"cwd": tmp_path, "env": environment, "input": "typed"}
    ours, theirs = (run(python, "-c", SAY, "a", "b c", **options) for python in (preloaded_python, sys.executable))
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
    assert ours.stdout == f"['-c', 'a', 'b c'] {tmp_path} 2 ours typed\n"


@pytest.mark.parametrize("code", END)
def test_a_command_ends_as_it_does_with_python(preloaded_python, code):
    ended = run(preloaded_python, "-c", f"import os, sys; {code}")
    assert ended.returncode == END[code]
    assert ("ZeroDivisionError" in ended.stderr) == (code == "1 / 0")
    assert ("wrong" in ended.stderr) == ("wrong" in code)


@pytest.mark.parametrize(
    "change, preloaded", [({}, True), ({"TOKENIZERS_PARALLELISM": "false"}, True), ({"HF_HUB_OFFLINE": "0"}, False)]
)
def test_variables_that_libraries_read_at_import_start_python_itself(preloaded_python, change, preloaded):
    command = ("-c", "import os, sys; print('torch' in sys.modules, *sys.argv[1:], *map(os.environ.get, sys.argv[1:]))")
    ended = run(preloaded_python, *command, *change, env=os.environ | change)
    assert ended.stdout.split() == [str(preloaded), *change, *change.values()]


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_signal_to_the_client_ends_the_command(preloaded_python, tmp_path, end):
    path = tmp_path / "process"
    with subprocess.Popen([preloaded_python, "-c", WAIT, path]) as client:
        wait_for(lambda: path.exists() and path.read_text().endswith(" "))
        getattr(client, end)()
    process = Path("/proc", path.read_text().strip())
    wait_for(lambda: not process.exists())
    assert client.returncode == {"kill": -9, "terminate": -15}[end]


def wait_for(is_true):
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
