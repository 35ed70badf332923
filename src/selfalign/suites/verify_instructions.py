"""The process in which replies are held against the constraints of IFEval and IFBench, by the package if-verifiable.

Started by `verifier_process.judged`. Nothing here asks the network, and every draw is the same each time: the verifiers
draw at random what a row leaves unsaid, and the guesser of languages draws, too.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import types
from collections.abc import Mapping
from typing import Any

from selfalign.suites import sentences
from selfalign.suites.verifier_process import Job, reason_of, serve

SEED = 0
# NLTK data that no package holds; a constraint that needs it has no verdict where it is absent.
ABSENT = "it needs NLTK data"
DOWNLOADS = {"ratio:stop_words": "stopwords", "words:start_verb": "averaged_perceptron_tagger_eng"}


def lighten() -> None:
    """Leave out three seconds of imports that no verifier needs: `datasets`, for a download, and NLTK's statistics."""
    found = importlib.util.find_spec("if_verifiable")
    assert found is not None
    package = types.ModuleType("if_verifiable")
    package.__path__ = list(found.submodule_search_locations or ())
    sys.modules["if_verifiable"] = package
    sys.modules["scipy.stats"] = None  # type: ignore[assignment] # so that importing it fails, which NLTK provides for


def prepare() -> None:
    """Make the sentence splitter available and the guesser of languages repeatable, and refuse downloads."""
    lighten()
    import langdetect
    import nltk

    def refuse(*arguments: object, **settings: object) -> bool:
        return False

    nltk.download = refuse
    langdetect.DetectorFactory.seed = SEED
    sentences.provide()


def judge(job: Job) -> Mapping[str, Any]:
    """Whether a reply meets one constraint, `strict` and `loose`; `loose` is None where only that failed, and `why`."""
    random.seed(SEED)
    reply = job["reply"]
    checker = checker_of(job)
    try:
        if reply.strip() and checker.check_following(reply):
            return {"strict": True, "loose": True}
    except LookupError as error:
        needed = DOWNLOADS.get(job["family"])
        if needed and type(error) is LookupError:
            return {"failed": f"{ABSENT}: python -m nltk.downloader {needed}"}
        raise
    try:
        return {"strict": False, "loose": any(met(checker, variant) for variant in variants(reply))}
    except Exception as error:  # a beheaded reply can break what the whole one did not
        return {"strict": False, "loose": None, "why": reason_of(error)}


def met(checker: Any, text: str) -> bool:
    """Whether a text that is not blank meets a constraint."""
    return bool(text.strip() and checker.check_following(text))


def variants(reply: str) -> list[str]:
    """The authors' loose readings: first or last line or both left out, each with and without asterisks."""
    from if_verifiable.common import get_loose_transformations

    return list(dict.fromkeys(get_loose_transformations(reply)))[1:]


def checker_of(job: Job) -> Any:
    """The verifier of a constraint with the settings of its row."""
    registry = importlib.import_module(f"if_verifiable.{job['suite']}.instructions_registry").INSTRUCTION_DICT
    checker = registry[job["family"]](job["family"])
    checker.build_description(**job["settings"])
    arguments = checker.get_instruction_args()
    if arguments and "prompt" in arguments:
        checker.build_description(prompt=job["prompt"])
    if job["family"] == "keywords:letter_frequency":
        # The verifier replaces a sign that is no letter (two rows of IFEval) by a letter drawn at random.
        checker._letter = job["settings"]["letter"].strip().lower()
    return checker


if __name__ == "__main__":
    prepare()
    serve(judge)
