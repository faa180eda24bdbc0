"""A Python that has already imported the libraries, for tests that start many commands.

Importing torch and transformers takes seconds of CPU in each process. Here a server imports them once and forks for
each command. The command runs in a process of its own, with its own arguments, environment, folder, streams and exit
code. What is not forked is started as usual: other options, or variables that the libraries read when imported.

The client stands for the command: it passes signals on, ends as the command ends, and the command dies with it.
"""

import json
import os
import selectors
import signal
import socket
import struct
import sys
from pathlib import Path

LENGTH = struct.Struct("!Q")
CODE = struct.Struct("!i")
ANY_VALUE = (
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "PYTHON_EXEC",
)  # variables of the libraries that may differ from the server's
# tokenizers reads its variables at each call, and pipelines set one of them
OF_LIBRARIES = ("CUDA", "HF_", "HTTP", "MKL", "NO_PROXY", "OMP", "PYTHON", "TRANSFORMERS", "TRITON")


def select_of_libraries(environment):
    """Variables that the libraries may read when they are imported."""
    return {
        name: value
        for name, value in environment.items()
        if name.upper().startswith(OF_LIBRARIES) and name not in ANY_VALUE
    }


def read(connection, size):
    """Read so many bytes; fewer if the other side has ended."""
    data = b""
    while len(data) < size and (part := connection.recv(size - len(data))):
        data += part
    return data


def run_client(server, *words):
    """Have the server run a command, and end as it ends."""
    words = words[1:] if words[:1] == ("-u",) else words
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server)
        theirs = json.loads(read(connection, *LENGTH.unpack(read(connection, LENGTH.size))))
        if words[:1] not in (("-m",), ("-c",)) or theirs != select_of_libraries(os.environ):
            connection.close()
            os.execv(sys.executable, [sys.executable, *words])
        command = json.dumps([words, dict(os.environ), str(Path.cwd())]).encode()
        socket.send_fds(connection, [LENGTH.pack(len(command))], [0, 1, 2])
        connection.sendall(command)
        (process,) = CODE.unpack(read(connection, CODE.size))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(process, number))
        (code,) = CODE.unpack(read(connection, CODE.size))
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def serve(path):
    """Import the libraries, then fork for each command until standard input ends."""
    import gc
    from importlib import import_module

    import_module("innerdistill.run.distill")
    gc.freeze()
    known = json.dumps(select_of_libraries(os.environ)).encode()
    running = {}
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        selector.register(0, selectors.EVENT_READ, "end")
        selector.register(listener, selectors.EVENT_READ, "client")
        while True:
            for key, _ in selector.select():
                if key.data == "end":
                    for process, _ in running.values():
                        os.kill(process, signal.SIGKILL)
                    os._exit(0)
                if key.data == "client":
                    connection, _ = listener.accept()
                    connection.sendall(LENGTH.pack(len(known)) + known)
                    selector.register(connection, selectors.EVENT_READ, "command")
                elif key.data == "command":
                    start(key.fileobj, selector, running, inherited=[listener, selector])
                elif key.data == "client ended":
                    selector.unregister(key.fileobj)
                    os.kill(running[key.fileobj][0], signal.SIGKILL)
                else:
                    report_end(key.fileobj, key.data, selector, running)


def start(connection, selector, running, *, inherited):
    """Fork for the command that a client sends."""
    selector.unregister(connection)
    length, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, 3)
    if not length:  # it has started the command as usual
        connection.close()
        return
    words, environment, folder = json.loads(read(connection, *LENGTH.unpack(length)))
    process = os.fork()
    if process == 0:
        for file in (*inherited, *running, connection):
            file.close()
        run_command(words, environment, folder, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(CODE.pack(process))
    ended = os.pidfd_open(process)
    running[connection] = process, ended
    selector.register(connection, selectors.EVENT_READ, "client ended")
    selector.register(ended, selectors.EVENT_READ, connection)


def report_end(ended, connection, selector, running):
    """Tell a client how its command has ended."""
    process, _ = running.pop(connection)
    _, status = os.waitpid(process, 0)
    if connection in selector.get_map():
        selector.unregister(connection)
        connection.sendall(CODE.pack(os.waitstatus_to_exitcode(status)))
    connection.close()
    selector.unregister(ended)
    os.close(ended)


def run_command(words, environment, folder, descriptors):
    """Run a command in this process, which the server has forked, as Python does; never returns."""
    import atexit
    import random
    import runpy
    import threading
    import traceback

    import numpy as np
    import torch

    code = 1
    try:
        os.setsid()
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        random.seed()
        np.random.seed()
        torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", os.cpu_count())))
        option, what, *arguments = words
        sys.path[0] = folder
        sys.argv = [what if option == "-m" else "-c", *arguments]
        if option == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as Python itself does
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "--serve" else run_client(*sys.argv[1:])
