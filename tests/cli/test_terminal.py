"""What is written into a pipe, and how a stopped command leaves the terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest


def start(*arguments, **options):
    command = [sys.executable, "-m", "innerdistill", *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | {"COLUMNS": "80"}, **options)


@pytest.mark.slow
def test_a_pipe_is_neither_wrapped_nor_padded(recipe_file, tmp_path):
    words = ["data.note=a", f"output={tmp_path / ('long' * 30)}", "schedule.name=soft_labels"]
    command = start("distill", recipe_file, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    shown, _ = command.communicate()
    assert command.returncode == 0
    lines = shown.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[0].startswith("Distil ") and lines[0].endswith(f"{'long' * 30}.") and len(lines[0]) > 200
    sentences = [line for line in lines if line.endswith(".")]
    assert all(line[0].isupper() for line in sentences)  # none is the rest of another
    header = next(number for number, line in enumerate(lines) if line.startswith("validation, "))
    starts = {line.index("0.") for line in lines[header + 1 : header + 3]}
    assert len(starts) == 1  # the columns are aligned


def test_a_finished_run_has_nothing_to_resume(recipe_file, tmp_path, monkeypatch, capsys):
    from innerdistill.cli.main import main

    def stop(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("innerdistill.cli.main.print_summary", stop)
    assert main(["distill", str(recipe_file), "schedule={name: soft_labels, total_steps: 2}"]) == 130
    error = capsys.readouterr().err
    assert error.endswith("innerdistill: stopped.\nThe run is finished: nothing is left to resume.\n")


@pytest.mark.slow
def test_ctrl_c_leaves_a_clean_line_in_a_terminal(recipe_file):
    arguments = ["distill", str(recipe_file), "schedule={classification_epochs: 500, name: soft_labels}"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "innerdistill", *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown, is_stopped, deadline = b"", False, time.monotonic() + 100
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:  # how Linux ends the output of a terminal
            break
        if not is_stopped and re.search(rb"\| \d{2,}/", shown):
            os.write(terminal, b"\x03")
            is_stopped = True
    else:
        os.kill(process, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    before, said, after = shown.decode().partition("innerdistill: stopped.")
    last_line = before.replace("\x1b[31m", "").rpartition("\r")[2]
    assert said and last_line.strip() == "" and "^C" not in before
    assert "Run the same command again to resume" in after
