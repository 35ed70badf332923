"""What runs inside the sandbox: forbids what audit events can forbid, then executes the program and its tests.

The text of this file is handed to a bare interpreter by `sandbox_warden`, which already confined the process as far as
the system allows. It imports nothing of selfalign. This is the *second* line of defence: a program shares the process,
so whoever finds a hole in the interpreter passes it.

Everything here is written for a program that looks at the frames below its own. It can read and change their globals
and, from Python 3.13 on, their local variables. So the token that a success is reported with is nowhere but on the
evaluation stack of `main`, and verdicts are constants. The audit hooks end the process rather than raise: an exception
would show their frames. Collector and signals can still run code of the program on top of a hook, so it holds nothing
but immutable values and calls nothing written in Python. `sys.audit` lets a program send any values: a hook asks for
their exact kinds before it touches them.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, ModuleType

TYPE_CHECKING = False  # importing `typing` would take as long as the interpreter
if TYPE_CHECKING:
    from typing import Any

PROGRAM, TOKEN, REPORT = 0, 3, 4
"""File descriptors: the texts to run; the token, to be read once; where the verdict goes."""
TOKEN_BYTES = 32
PATH_CHARACTERS = 512
"""Longer paths are refused, so that what a program leaves behind can be removed without deep recursion."""

# Not to be imported: they reach memory, interpreters without our hooks, or files without an event.
MODULES = """
_ctypes _testcapi _testinternalcapi _testlimitedcapi _testmultiphase _testsinglephase _testbuffer _testclinic
_xxsubinterpreters _xxinterpchannels _xxinterpqueues _interpreters _interpchannels _interpqueues _remote_debugging
_sqlite3 _dbm _gdbm readline _multiprocessing _posixshmem _tkinter _curses
"""
CALLS_WITHOUT_EVENT = "mkfifo mknod chroot unshare setns setpriority sched_setaffinity memfd_create"
FAMILIES = """
ctypes. subprocess. pty. http.client. urllib. ftplib. smtplib. telnetlib. poplib. imaplib. nntplib. webbrowser.
sqlite3. syslog. winreg. msvcrt. cpython._PySys_ cpython.PyInterpreterState_ os. socket. sys.monitoring.
"""
EVENTS = """
gc.get_objects gc.get_referrers gc.get_referents sys.settrace sys.setprofile sys._settraceallthreads
sys._setprofileallthreads sys._current_frames sys._current_exceptions sys.addaudithook sys.remote_exec
signal.pthread_kill
"""
HARMLESS = "os.putenv os.unsetenv os.walk os.fwalk os.lockf socket.gethostname"
FOLDER_READING = frozenset(("os.listdir", "os.scandir"))
WRITING = frozenset(("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.truncate", "os.utime"))
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def forbid_paths(library: tuple[str, ...], own: str) -> None:
    """Ends the process when it reads a file outside of the library and its own folder, or writes outside of the latter.

    Paths are judged as text. That is enough since the program can neither make links nor change its folder, and opens
    no descriptor of another folder.
    """
    inside_own, inside_library = own + "/", tuple(place + "/" for place in library)
    folder_reading, writing, flags_of_writing, limit = FOLDER_READING, WRITING, WRITING_FLAGS, PATH_CHARACTERS
    write, leave, report, anything = os.write, os._exit, REPORT, BaseException
    kind_of, length_of, plain, number, octets, none = type, len, str, int, bytes, type(None)

    def hook(event: str, values: tuple[Any, ...]) -> None:
        try:
            if event == "open":
                if kind_of(values[2]) is not number:
                    leave(1)
                reading = (
                    values[1] is not None and not values[2] & flags_of_writing
                )  # no mode: `os.open`, of folders too
            elif event in folder_reading or event in writing:
                reading = event in folder_reading
            else:
                return
            for path in values[: 2 if event == "os.rename" else 1]:
                kind = kind_of(path)
                if kind is number or kind is none:  # a descriptor that is open already; the current folder
                    continue
                text = path.decode("utf-8", "surrogateescape") if kind is octets else path
                if kind_of(text) is not plain or length_of(text) > limit:  # a subclass may change between two looks
                    leave(1)
                within = (text if text.startswith("/") else inside_own + text) + "/"
                inside = within.startswith(inside_own) or (reading and within.startswith(inside_library))
                if not inside or ".." in within.split("/"):
                    write(report, b"refused: " + event.encode() + b" " + text.encode("utf-8", "replace"))
                    leave(1)
        except anything:
            leave(1)

    sys.addaudithook(hook)


def forbid_events(library: tuple[str, ...]) -> None:
    """Ends the process at an event, other than of files, that a program has no business with."""
    inside_library = tuple(place + "/" for place in library)
    families, refused = tuple(FAMILIES.split()), frozenset(EVENTS.split())
    harmless = frozenset(HARMLESS.split()) | FOLDER_READING | WRITING
    absent = frozenset((*MODULES.split(), "_posixsubprocess"))
    built_in = absent & frozenset(sys.builtin_module_names)
    write, leave, report, anything = os.write, os._exit, REPORT, BaseException
    kind_of, plain, number = type, str, int

    def hook(event: str, values: tuple[Any, ...]) -> None:
        try:
            if event == "import":
                name, file = values[:2]
                bad = kind_of(name) is not plain or name in built_in
                if kind_of(file) is plain:  # about to load C: what was hidden and is no more, renamed, or brought along
                    named_file = file.rpartition("/")[2].partition(".")[0]
                    bad = bad or name.rpartition(".")[2] in absent or named_file in absent
                    bad = bad or not file.startswith(inside_library) or ".." in file.split("/")
            elif event == "socket.__new__":  # event loops wake themselves through an AF_UNIX pair, and connect nowhere
                bad = kind_of(values[1]) is not number or values[1] != 1
            elif event in ("os.mkdir", "os.rename"):
                bad = False
                for folder in values[2:]:
                    bad = bad or kind_of(folder) is not number or folder != -1
            else:
                bad = event not in harmless and (event in refused or event.startswith(families))
            if bad:
                named = b" " + name.encode("utf-8", "replace") if event == "import" else b""
                write(report, b"refused: " + event.encode("utf-8", "replace") + named)
                leave(1)
        except anything:
            leave(1)

    sys.addaudithook(hook)


def refused_call(*_: object, **__: object) -> None:
    """In the place of a call that no event tells of."""
    raise PermissionError("not allowed in the sandbox")


def prepare() -> dict[str, object]:
    """The namespace that the program runs in, after everything dangerous was taken out of reach."""
    import _posixsubprocess

    _posixsubprocess.fork_exec = refused_call  # type: ignore[assignment]  # it raises no event
    for name in MODULES.split():
        sys.modules[name] = None  # type: ignore[assignment]  # as if missing, which others are prepared for
    for name in CALLS_WITHOUT_EVENT.split():
        for module in (os, sys.modules["posix"]):
            if hasattr(module, name):
                delattr(module, name)
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    own = os.getcwd()  # noqa: PTH109  # pathlib would double the time to start
    os.environ.clear()
    os.environ["TMPDIR"] = own
    library = tuple(place for place in sys.path if place.startswith("/"))
    forbid_paths((*library, "/usr/share/zoneinfo"), own)
    forbid_events(library)  # from here on no other hook is added
    return vars(module)


def told(error: BaseException) -> bytes:
    """Why a program failed, in its own words; may run more of its code, and is believed in nothing but the wording."""
    if isinstance(error, MemoryError):
        return b"out of memory"
    if isinstance(error, SystemExit):
        return b"exited before its tests ended"
    where, step = "", error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename in ("<program>", "<tests>"):
            where = f" (line {step.tb_lineno} of the {step.tb_frame.f_code.co_filename[1:-1]})"
        step = step.tb_next
    said = str(error)[:1000]
    return f"failed: {type(error).__name__}{': ' if said else ''}{said}{where}".encode("utf-8", "replace")


def tell(error: BaseException) -> None:
    """Why a program failed, sent; nothing where even that fails."""
    try:
        os.write(REPORT, told(error)[:2000])
        sys.stdout.flush()
    except BaseException:
        os._exit(1)


def run(namespace: dict[str, object], codes: tuple[CodeType, ...]) -> bytes:
    """The word for a success, after the program and then its tests ran to their ends; otherwise it raises.

    Both are called from C: between the two no name is looked up that the program could have changed, and it cannot
    reach the iterator (`codes` it can, and what the tests compare with, but not change them). A `StopIteration` from
    either ends the iterator like a last item: that both came to their ends is told by there being two values.
    """
    try:
        _, _ = map(exec, codes, (namespace, namespace))
    except ValueError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # raised here: too few values
            raise RuntimeError("StopIteration, outside of an iterator") from None
        raise
    sys.stdout.flush()
    return b"passed"


def read_codes() -> tuple[CodeType, ...]:
    """The program and its tests, compiled one by one: an unclosed string in the program cannot swallow the tests."""
    with open(PROGRAM, encoding="utf-8", errors="surrogatepass", closefd=False) as file:
        program, _, tests = file.read().rpartition("\0")
    reading, writing = os.pipe()
    os.close(writing)
    os.dup2(reading, PROGRAM)  # the program finds the end of its input there, not its tests
    os.close(reading)
    sources = ((program, "<program>"), (tests, "<tests>"))
    return tuple(compile(text, name, "exec", dont_inherit=True) for text, name in sources)


def main() -> None:
    """Reports a success with the token, or ends with an exception.

    Operands are evaluated from left to right: `write` and the token are on the stack before the program starts, where
    no frame, traceback or collector shows them.
    """
    write, read = os.write, os.read
    write(REPORT, read(TOKEN, TOKEN_BYTES) + run(codes=read_codes(), namespace=prepare()))


if __name__ == "__main__":
    try:
        main()
    except BaseException as failure:
        tell(failure)
    os._exit(1)  # a success is in the report, not in this
