"""What is written into a pipe, and how a stopped command leaves the terminal."""

import fcntl
import io
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
from rich.console import Console

from innerdistill.cli.terminal import create_table, print_table


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


TABLES = {
    "plan": [
        ("part", "losses", "layers matched", "work", "layers run", "minutes"),
        ("classification", "soft_labels, gold_labels, attention_kl", "1←2, 2←4, 3←6", "36 steps of 8", "3 + 6", "0.1"),
        ("teacher outputs", "", "", "1,500 examples of train and selection", "0 + 12", "12.5"),
    ],
    "speed": [
        ("batch 1, 26 tokens", "parameters", "without embeddings", "file", "latency", "p20 to p80"),
        ("teacher", "122.7 M", "110.8 M", "1391 MB", "1823.5 ms", "1477.0 to 1557.7 ms"),
    ],
    "ONNX": [
        ("batch 1, 26 tokens", "size", "macro F1", "agreement", "latency", "p20 to p80"),
        ("onnx/model_quantized.onnx", "1418 MB", "0.4944", "97.5 %", "1779.0 ms", "218.9 to 932.9 ms"),
    ],
    "sweep": [
        ("validation, 40 examples", "Matthews correlation", "share of teacher", "agreement", "seeds", "a", "b", "c"),
        ("a method of a long name (2 of 8 collapsed)", "-0.4625 ± 0.0177", "101.5 %", "0.6375 ± 0.0177", *"8123"),
    ],
    "a word longer than the terminal": [("cache", "size"), ("x" * 100, "12 MB")],
}


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("rows", TABLES.values(), ids=TABLES)
def test_nothing_in_a_table_is_cut(monkeypatch, rows, width):
    shown = io.StringIO()
    terminal = Console(file=shown, width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr("innerdistill.cli.terminal.console", terminal)
    header, *cells = rows
    table = create_table(*header)
    for row in cells:
        table.add_row(*row)
    print_table(table)
    text = shown.getvalue()
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for _, *numbers in cells:
        assert all(number in text for number in numbers if len(number) <= 20)  # with its unit, on one line
    words = {word for row in rows for cell in row for word in cell.split()}
    missing = {word for word in words if word not in text}
    assert missing <= {word for word in words if len(word) > width / 2}  # these are folded
    assert text.count("x") >= sum("".join(row).count("x") for row in rows)
