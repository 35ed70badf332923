"""HumanEval and MBPP: a reply is a program, right where it passes its tests in the sandbox (pass@1, greedy)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence

from selfalign.data.formats import Format
from selfalign.data.turns import Misfit, asked, shown, text_at
from selfalign.measures.metric import Metric
from selfalign.suites.sandbox import Program, run_programs
from selfalign.suites.suite import Row, Suite, Verdict
from selfalign.types import Item

# A block of any language, so that the end of a shell's block is not taken for the beginning of the next.
FENCE = re.compile(r"^```[ \t]*+([^`\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
OPEN_FENCE = re.compile(r"^```[ \t]*+(?:python|py)?[0-9.]*(?:[ \t][^`\n]*)?\n", re.MULTILINE | re.IGNORECASE)
PYTHON = re.compile(r"(?:python|py)?[0-9.]*(?:\s.*)?", re.IGNORECASE)
NAME = re.compile(r"[^\W\d]\w*")
COMPLETE = "Complete this Python function. Reply with the whole function in one fenced code block."
SATISFY = "Reply with Python code alone, in one fenced code block. It must satisfy:"
HUMANEVAL_FORMAT = Format(
    frozenset({"prompt", "test", "entry_point"}), "task_id + prompt + entry_point + test",
    lambda row: (text_at(row, "prompt"), None),
)  # fmt: skip
MBPP_FORMAT = Format(
    frozenset({"test_list"}), "task_id + prompt (or text) + test_list", lambda row: (text_at(row, "prompt"), None)
)


# ---------------------------------------------------------------------------------------------- the two sets


def humaneval_of(row: Row, identifier: str) -> Item:
    """A function's head and docstring to complete, and the tests its whole must pass."""
    head, name = text_at(row, "prompt"), text_at(row, "entry_point")
    if NAME.fullmatch(name) is None:
        raise Misfit(f"'entry_point' must be the name of a function, not {shown(name)}")
    tests = f"{text_at(row, 'test')}\n\ncheck({name})\n"
    given = {"head": head, "name": name, "tests": tests}
    return Item(id=identifier, prompt=asked(f"{COMPLETE}\n\n```python\n{head.strip()}\n```", "prompt"),
                given=json.dumps(given))  # fmt: skip


def mbpp_of(row: Row, identifier: str) -> Item:
    """A task in words with the tests its program must pass, the first of which the model is shown."""
    task = text_at(row, "prompt" if "prompt" in row else "text")
    tests = texts_at(row, "test_list")
    if not tests:
        raise Misfit("'test_list' is empty: a program needs a test to pass")
    before = [
        *(texts_at(row, "test_imports") if row.get("test_imports") else ()),
        str(row.get("test_setup_code") or ""),
    ]
    given = {"head": "", "name": "", "tests": "\n".join([*before, *tests, ""])}
    return Item(id=identifier, prompt=asked(f"{task.strip()}\n\n{SATISFY}\n\n```python\n{tests[0]}\n```", "prompt"),
                given=json.dumps(given))  # fmt: skip


def texts_at(row: Row, name: str) -> list[str]:
    """A list of texts."""
    value = row.get(name)
    if not isinstance(value, list):
        raise Misfit(f"{name!r} must be a list of texts, not {shown(value)}")
    return [text_at({name: text}, name) for text in value]


# ------------------------------------------------------------------------------------------------ judging


def judged(metric: str, items: Sequence[Item], replies: Sequence[str]) -> Iterator[tuple[Verdict, ...]]:
    """Whether each reply's program passes its tests; what fails otherwise than by its own fault raises."""
    programs = []
    for item, reply in zip(items, replies, strict=True):
        given = json.loads(item.given)
        programs.append(Program(text=program_in(reply, head=given["head"], name=given["name"]), tests=given["tests"]))
    for outcome in run_programs(programs):
        yield (Verdict(metric, float(outcome.passed), "" if outcome.passed else outcome.why),)


def program_in(reply: str, *, head: str = "", name: str = "") -> str:
    """The program a reply holds: its first fenced block that defines the function, else its first, else all of it.

    A reply that does not define the function goes on where `head` ends, as completions of base models do. What stands
    before the function in `head` (imports, helpers) comes first in either case.
    """
    fenced = [(PYTHON.fullmatch(found[1]) is not None, found[2], found.end()) for found in FENCE.finditer(reply)]
    blocks = [block for is_python, block, _ in fenced if is_python]
    if not blocks and (opened := OPEN_FENCE.search(reply, fenced[-1][2] if fenced else 0)):
        blocks = [reply[opened.end() :]]  # cut by the token limit
    defines = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b", re.MULTILINE) if name else None
    if defines is None:
        return blocks[0] if blocks else reply
    code = next((block for block in blocks if defines.search(block)), blocks[0] if blocks else reply)
    if not defines.search(code):
        return f"{head.rstrip()}\n{code}"
    own = defines.search(head)
    return f"{head[: own.start()] if own else ''}\n{code}"


def supported() -> str:
    """Why no program can be run here; nothing where it can."""
    return "programs are run on Linux and macOS only" if sys.platform == "win32" else ""


HUMANEVAL = Suite(
    name="humaneval",
    says="functions to complete (Chen et al., 2107.03374)",
    metrics=(Metric("humaneval", "higher", "functions that pass all their tests (pass@1)", True),),
    formats=(HUMANEVAL_FORMAT,),
    item_of=humaneval_of,
    verify=lambda items, replies: judged("humaneval", items, replies),
    max_new_tokens=384,
    runs_code=True,
    ready=supported,
)
MBPP = Suite(
    name="mbpp",
    says="basic programs from a description (Austin et al., 2108.07732)",
    metrics=(Metric("mbpp", "higher", "programs that pass all their tests (pass@1)", True),),
    formats=(MBPP_FORMAT,),
    item_of=mbpp_of,
    verify=lambda items, replies: judged("mbpp", items, replies),
    max_new_tokens=384,
    runs_code=True,
    ready=supported,
)
