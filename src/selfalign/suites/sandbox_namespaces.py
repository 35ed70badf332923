"""What the Linux kernel can take away from a process and its children: network, files, other processes, rights.

Knows nothing of programs and verdicts. `sandbox_warden` loads it by its place, in an interpreter without selfalign.
Namespaces are made as root or, where users may make them, without; what the system refuses is missing in `held`.
"""

# ruff: noqa: PTH102, PTH103, PTH109, PTH112, PTH114, PTH115, PTH120, PTH211
# (importing pathlib takes as long as starting the interpreter)

from __future__ import annotations

import ctypes
import os
import resource
import sys

NOBODY = 65534
NAMESPACES = 0x00020000 | 0x08000000 | 0x40000000 | 0x20000000 | 0x04000000  # mounts, ipc, network, processes, names
USER_NAMESPACE = 0x10000000
READ_ONLY, NO_SET_UID, NO_DEVICES, NO_EXECUTION = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18
DETACH = 2
STATVFS_RELATIVE_TIMES, RELATIVE_TIMES, TIME_FLAGS = 4096, 1 << 21, 1024 | 2048
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
PARENT_DEATH_SIGNAL, DROP_CAPABILITY, SUBREAPER, NO_NEW_PRIVILEGES = 1, 24, 36, 38
SIGKILL = 9
SHOWN = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/nix/store",
)
OWN_FOLDER = "/program"
FILES_AT_MOST = 1000
MINIMUM_FREE = 65536


class System:
    """Calls of the C library that Python has no names for; each raises OSError when it is refused."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(None, use_errno=True)

    def call(self, name: str, *values: int | bytes | None) -> None:
        """One call: integers are passed as longs."""
        wrapped = [ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value) for value in values]
        if getattr(self.library, name)(*wrapped) < 0:
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")

    def mount(self, source: str, target: str, *, kind: str = "", flags: int = 0, options: str = "") -> None:
        """Something mounted; no kind: a bind mount or a change of one."""
        self.call("mount", source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None)

    def attempt(self, name: str, *values: int | bytes) -> bool:
        """Whether a call was allowed."""
        try:
            self.call(name, *values)
        except (OSError, AttributeError):
            return False
        return True


def separate(system: System) -> str:
    """How this process got namespaces of its own: "root", "user", "contained root", or "" where none are allowed.

    A contained root has user id 0 but not its rights, as in most containers.
    """
    if not sys.platform.startswith("linux"):
        return ""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and system.attempt("unshare", NAMESPACES):
        return "root"
    if not system.attempt("unshare", NAMESPACES | USER_NAMESPACE):
        return ""
    for file, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{file}", "w") as handle:
            handle.write(text)
    return "user" if uid else "contained root"


def libraries() -> list[str]:
    """What the interpreter reads to run: its own library, shared objects, and the folders of those it has loaded."""
    prefix = os.path.realpath(sys.base_prefix)
    wanted = [*SHOWN, f"{prefix}/lib", f"{prefix}/{sys.platlibdir}", os.path.realpath(sys.executable)]
    with open("/proc/self/maps") as maps:
        loaded = {line.split(maxsplit=5)[-1].strip() for line in maps if ".so" in line and line.count("/") > 1}
    wanted += sorted(os.path.dirname(path) for path in loaded)
    shown: list[str] = []
    for path in wanted:
        if os.path.lexists(path) and not any(f"{path}/".startswith(f"{there}/") for there in shown):
            shown.append(path)
    return shown


def show(system: System, path: str, root: str) -> None:
    """One path of the old file tree, seen in the new one, read-only."""
    place = root + path
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), place)
        return
    if os.path.isdir(path):
        os.mkdir(place)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
    system.mount(path, place, flags=BIND | RECURSIVE)
    there = os.statvfs(place).f_flag  # flags of the original that a user namespace may not take away
    kept = there & (NO_DEVICES | NO_EXECUTION | NO_SET_UID | TIME_FLAGS)
    kept |= RELATIVE_TIMES if there & STATVFS_RELATIVE_TIMES else 0
    system.mount("none", place, flags=kept | REMOUNT | BIND | READ_ONLY | NO_SET_UID | NO_DEVICES)


def own_files(system: System, root: str, file_bytes: int) -> None:
    """A file tree of nothing but the interpreter's library, read-only, and an empty folder in memory to write to."""
    closed = NO_SET_UID | NO_DEVICES
    shown = libraries()
    system.mount("none", "/", flags=RECURSIVE | PRIVATE)
    system.mount("tmpfs", root, kind="tmpfs", flags=closed, options="mode=755,size=1m")
    for path in shown:
        show(system, path, root)
    os.mkdir(root + OWN_FOLDER)
    options = f"mode=777,size={file_bytes + MINIMUM_FREE},nr_inodes={FILES_AT_MOST}"
    system.mount("tmpfs", root + OWN_FOLDER, kind="tmpfs", flags=closed | NO_EXECUTION, options=options)
    os.chdir(root)
    system.call("syscall", PIVOT_ROOT[os.uname().machine], b".", b".")
    system.call("umount2", b".", DETACH)
    os.chdir("/")
    system.mount("none", "/", flags=REMOUNT | BIND | READ_ONLY | closed)
    os.chdir(OWN_FOLDER)


class Confined:
    """How far this process could confine itself and its children: the kind of namespaces, and the protections."""

    def __init__(self, system: System, kind: str) -> None:
        self.system, self.kind = system, kind
        self.held: dict[str, str] = {}


def confine(file_bytes: int) -> Confined:
    """This process, confined as far as the system allows; what it does not allow is missing in `held`."""
    system = System()
    confined = Confined(system, separate(system))
    if not confined.kind:
        if sys.platform.startswith("linux"):
            system.attempt("prctl", SUBREAPER, 1, 0, 0, 0)  # so that no grandchild can leave
        return confined
    confined.held["network"] = "no network (own namespace)"
    confined.held["processes"] = "no other process to be seen, none left behind (own namespace)"
    here = os.getcwd()
    try:
        own_files(system, here, file_bytes)
        confined.held["files"] = "no file but the interpreter's library and an empty folder in memory (own namespace)"
    except (OSError, KeyError):
        system.attempt("umount2", here.encode(), DETACH)  # what was mounted half-way
        os.chdir(here)
    return confined


def become_nobody() -> bool:
    """Whether this process could take a user's place who owns nothing; a root of few users may have no such user.

    Only with an own file tree: in the shared one, nobody might not even reach the interpreter.
    """
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return False
    return True


def give_up_rights(confined: Confined, *, processes: int) -> dict[str, str]:
    """What this process can no longer do, for good: capabilities, the rights of root, more than so many processes."""
    if not sys.platform.startswith("linux"):
        return {}
    system, kind = confined.system, confined.kind
    for capability in range(64):
        system.attempt("prctl", DROP_CAPABILITY, capability, 0, 0, 0)
    # The kernel counts processes by user, over all sandboxes, unless each has a user namespace; and never root's.
    held: dict[str, str] = {}
    counted = kind == "user"
    if kind == "root" and "files" in confined.held and become_nobody():
        held["user"] = "runs as nobody"
        counted = system.attempt("unshare", USER_NAMESPACE)
    if counted:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        held["count"] = f"at most {processes} processes and threads"
    system.attempt("prctl", PARENT_DEATH_SIGNAL, SIGKILL, 0, 0, 0)  # a change of user takes it back, so after that
    if system.attempt("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        held["privileges"] = "no capabilities, and none to gain"
    return held
