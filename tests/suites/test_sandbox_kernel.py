"""The kernel's part of the sandbox, alone: programs that passed the audit hook; and the hook without the kernel."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfalign.suites.sandbox import Limits, Program, check_sandbox, confined

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces are of Linux")
SOURCE = Path(__file__).parents[2] / "src"
QUICK = Limits(seconds=10.0, cpu_seconds=5, memory_bytes=256 << 20, processes=8, output_characters=500)
ESCAPE = """
import os, sys
PYTHON = os.path.realpath(sys.executable)
try:
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()  # leaves the group, keeps standard output
            %s
finally:
    os._exit(0)
"""
SLEEP = "os.execv(PYTHON, [PYTHON, '-S', '-c', 'import time; time.sleep(60)', 'MARK'])"


def has_namespaces() -> bool:
    return not any(item.startswith("MISSING") for item in check_sandbox())


def running(mark: str) -> list[str]:
    """Processes whose command line says so."""
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if mark in readable(path)]


def readable(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def without_hook(tmp_path: Path, program: str) -> dict[str, object]:
    """How a program ends that had passed the audit hook: the kernel's part alone."""
    if not has_namespaces():
        pytest.skip("no namespaces here")
    inside = tmp_path / "inside.py"
    inside.write_text(program)
    return confined(Program(text=""), QUICK, "token", inside=inside)


def test_the_kernel_hides_files_and_network(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        ending = without_hook(
            tmp_path,
            f"""
import os, socket
assert os.getpid() == 1
for path in ("/etc/passwd", "/proc/self/environ", {str(tmp_path / "secret")!r}, "/dev/null", "/home", "/bin/sh"):
    assert not os.path.exists(path), path
for path in ("/written", os.__file__, "/usr/lib/written"):
    try:
        open(path, "a")
    except OSError:
        continue
    raise AssertionError(path)
try:
    socket.create_connection({server.getsockname()!r}, 1)
except OSError as error:
    print("done", error)
""",
        )
    assert str(ending["output"]).startswith("done"), ending


def test_the_kernel_takes_all_rights(tmp_path: Path) -> None:
    ending = without_hook(
        tmp_path,
        """
import ctypes
library = ctypes.CDLL(None)
for call in (("setuid", 0), ("unshare", 0x10020000), ("umount2", b"/usr/lib", 2), ("chroot", b".")):
    assert getattr(library, call[0])(*call[1:]) == -1, call
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert library.capget(header, data) == 0 and not any(data[:3])
print("done")
""",
    )
    assert ending["output"] == "done\n", ending


@pytest.mark.parametrize("program", [SLEEP, "while True: os.fork()"])  # the bomb is bounded, by the limit of eight
def test_no_grandchild_outlives_its_sandbox(tmp_path: Path, program: str) -> None:
    began = time.monotonic()
    ending = without_hook(tmp_path, (ESCAPE % program).replace("MARK", str(tmp_path)))
    assert ending["status"] == 0, ending
    assert time.monotonic() - began < 10
    assert running(str(tmp_path)) == []


def test_without_namespaces_the_rest_holds(tmp_path: Path) -> None:
    if not (shutil.which("unshare") and shutil.which("setpriv") and has_namespaces()):
        pytest.skip("nothing here to take namespaces away with")
    inside = tmp_path / "inside.py"
    inside.write_text((ESCAPE % SLEEP).replace("MARK", str(tmp_path)))
    (tmp_path / "folders").mkdir()
    program = (
        "from pathlib import Path\n"
        "from selfalign.suites.sandbox import check_sandbox, run_program, Program, confined, Limits\n"
        f"assert confined(Program(text=''), Limits(), 'token', inside=Path({str(inside)!r}))['status'] == 0\n"
        "assert [item for item in check_sandbox() if item.startswith('MISSING')]\n"
        'assert run_program(\'open("x", "w")\', \'assert open("x")\').passed\n'
        "assert run_program('open(\"/etc/passwd\")').why == 'refused: open /etc/passwd'\n"
        "assert run_program('while True: pass', limits=Limits(seconds=0.3)).why == 'timed out after 0.3 s'\n"
        "print('done')"
    )
    less = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all "$@"'
    command = ["unshare", "-U", "-r", "sh", "-c", less, "sh", sys.executable, "-c", program]
    ended = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]}
    )
    assert ended.stdout == "done\n", ended
    assert running(str(tmp_path)) == []
    assert list((tmp_path / "folders").iterdir()) == []


def test_no_folder_is_left(tmp_path: Path) -> None:
    program = (
        "from selfalign.suites.sandbox import Limits, run_program\n"
        "for text in ('open(\"x\", \"w\")', 'while True: pass', 'import os; os.abort()'):\n"
        "    run_program(text, limits=Limits(seconds=0.3))"
    )
    environment = {"PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []
