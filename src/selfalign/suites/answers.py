"""TriviaQA and SQuAD: a short answer in words, compared with those that count as right: equal, and by shared words.

The comparisons are those of the two authors' scripts. What they compare is the whole prediction; a chat model's is the
first line of its reply that has words, without a label such as `Answer:` before it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from string import punctuation
from typing import Any, NamedTuple

from selfalign.data.formats import Format
from selfalign.data.multiple_choice import texts_at
from selfalign.data.turns import Misfit, asked, shown, text_at, without_nothing
from selfalign.measures.metric import Metric
from selfalign.suites.suite import Row, Suite, Verdict, Verify
from selfalign.types import Item

ARTICLES = re.compile(r"\b(a|an|the)\b")
DELETED = str.maketrans("", "", punctuation)
BLANKED = str.maketrans(dict.fromkeys(punctuation + "‘’´`", " "))
LABEL = re.compile(r"\s*(?:\*\*)?(?:the )?(?:answer|a)(?:\*\*)?\s*:(?:\*\*)?\s*", re.IGNORECASE)
# llm-foundry's rows are prompts for completion: the question between these.
COMPLETION = re.compile(r"\s*Question:\s*(.*?)\s*Answer:\s*", re.DOTALL)
BRIEFLY = "Reply with the answer alone, in a few words."
FROM_TEXT = (
    "Reply with the answer alone, in words of the text. If the text does not answer the question, reply: unanswerable"
)
UNANSWERABLE = ("unanswerable", "no answer")

Normalise = Callable[[str], str]


class Question(NamedTuple):
    """What is asked, and every answer that counts as right; none where there is no answer."""

    asked: str
    right: tuple[str, ...]


# ------------------------------------------------------------------------------------------------- comparing


def normalised_squad(text: str) -> str:
    """A text as SQuAD's script compares it: lower case, without punctuation, articles and repeated blanks."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(DELETED)).split())


def normalised_trivia(text: str) -> str:
    """The same as TriviaQA's script does it: a sign of punctuation (quotation marks of type too) becomes a blank."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(BLANKED)).split())


def shared_words(said: str, right: str) -> float:
    """F1 of the words of two normalised texts: 2 · shared / (words of both); two empty texts agree."""
    if not said or not right:
        return float(said == right)
    ours, theirs = said.split(), right.split()
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def answer_in(reply: str) -> str:
    """What a reply gives as its answer: its first line with words, without a label before it; perhaps nothing."""
    for line in reply.splitlines():
        said = LABEL.sub("", line, count=1) if LABEL.match(line) else line
        if said.strip(punctuation + " \t"):
            return said.strip()
    return ""


def verifier(name: str, normalise: Normalise, *, may_be_none: bool) -> Verify:
    """Judges replies by the best of the right answers; `may_be_none`: "unanswerable" and the like are no answer."""

    def verify(items: Sequence[Item], replies: Sequence[str]) -> Iterator[tuple[Verdict, ...]]:
        for item, reply in zip(items, replies, strict=True):
            known = json.loads(item.given)["right"]
            right = [normalise(text) for text in known] or [""]
            read = answer_in(reply)
            said = normalise(read)
            if may_be_none and said in UNANSWERABLE:
                said = ""
            # Silence is right only where there is no answer; an answer of nothing but articles ("The The") is one.
            silent = not read and bool(known)
            exact = 0.0 if silent else float(said in right)
            overlap = 0.0 if silent else max(shared_words(said, one) for one in right)
            why = "" if exact else "no answer in the reply" if not said else f"read as {said[:80]!r}"
            yield Verdict(name, exact, why), Verdict(f"{name}_f1", overlap)

    return verify


# ------------------------------------------------------------------------------------------------- TriviaQA


def of_aliases(row: Row) -> Question:
    """llm-foundry: `context` (a prompt for completion), `answer` and `aliases`."""
    context = text_at(row, "context")
    completion = COMPLETION.fullmatch(context)
    return Question(completion[1] if completion else context, (text_at(row, "answer"), *texts_at(row, "aliases")))


def of_trivia(row: Row) -> Question:
    """The authors' `Question` and `Answer` (`Value`, `Aliases`, `NormalizedAliases`), or the hub's names for them."""
    question, answer = ("Question", "Answer") if "Question" in row else ("question", "answer")
    given = row[answer]
    if not isinstance(given, Mapping):
        raise Misfit(f"{answer!r} must be an object with 'Value' and 'Aliases', not {shown(given)}")
    named = {name.replace("_", "").lower(): value for name, value in without_nothing(given).items()}
    if "value" not in named:
        raise Misfit(f"{answer!r} has no 'Value': the published test file has no answers; take another split")
    lists = (texts_at(named, name) for name in ("aliases", "normalizedaliases", "humananswers") if name in named)
    return Question(text_at(row, question), (text_at(named, "value"), *(text for one in lists for text in one)))


def trivia_item(row: Row, identifier: str) -> Item:
    """A question and every name of its answer."""
    question = read(row, TRIVIA_FORMATS)
    if not any(text.strip() for text in question.right):
        raise Misfit("the answer is empty: give one or remove the row")
    return item_of(question, identifier, ask=f"{question.asked}\n\n{BRIEFLY}")


TRIVIA_FORMATS = (
    Format(frozenset({"context", "answer", "aliases"}), "context + answer + aliases", of_aliases),
    Format(frozenset({"Question", "Answer"}), "Question + Answer", of_trivia),
    Format(frozenset({"question", "answer"}), "question + answer", of_trivia),
)


# ---------------------------------------------------------------------------------------------------- SQuAD


def of_squad(row: Row) -> Question:
    """`context`, `question` and `answers`: objects with a `text` (the authors'), or an object of lists (the hub's)."""
    answers = row["answers"]
    if isinstance(answers, Mapping):
        texts = texts_at(answers, "text") if "text" in answers else None
    elif isinstance(answers, list) and all(isinstance(one, Mapping) for one in answers):
        texts = tuple(text_at(one, "text") for one in answers)
    else:
        texts = None
    if texts is None:
        raise Misfit(f"'answers' must be a list of objects with 'text', or an object with a list, not {shown(answers)}")
    if row.get("is_impossible", not texts) is not (not texts):
        said = row["is_impossible"]
        raise Misfit(f"'is_impossible' is {said}, but there are {len(texts)} 'answers': correct one of them")
    context, question = text_at(row, "context").strip(), text_at(row, "question").strip()
    if not context or not question:
        raise Misfit(f"{'question' if context else 'context'!r} is empty: there is nothing to answer")
    return Question(f"{context}\n\n{question}", tuple(text for text in texts if normalised_squad(text)))


def squad_item(row: Row, identifier: str) -> Item:
    """A question below its text, and every answer people gave; none where it has none."""
    question = read(row, SQUAD_FORMATS)
    return item_of(question, identifier, ask=f"{question.asked}\n\n{FROM_TEXT}")


SQUAD_FORMATS = (Format(frozenset({"context", "question", "answers"}), "context + question + answers", of_squad),)


def read(row: Row, formats: tuple[Format, ...]) -> Question:
    """The question of a row. Raises `Misfit` where no form fits."""
    row = without_nothing(row)
    form = next((one for one in formats if one.keys <= row.keys()), None)
    if form is None:
        missing = ", ".join(sorted(formats[0].keys - row.keys()))
        raise Misfit(
            f"no known format fits its keys {', '.join(map(repr, list(row)[:12]))}; missing: {missing}",
            unrecognised=True,
        )
    found: Question = form.read(row)
    return found


def item_of(question: Question, identifier: str, *, ask: str) -> Item:
    """A question with what is asked of a model, and its right answers, each once."""
    if not question.asked.strip():
        raise Misfit("the question is empty: there is nothing to answer")
    right: dict[str, Any] = {"right": list(dict.fromkeys(question.right))}
    return Item(id=identifier, prompt=asked(ask, "question"), given=json.dumps(right), asked=question.asked)


def metrics_of(name: str, what: str) -> tuple[Metric, Metric]:
    """The two readings of a suite."""
    return (
        Metric(name, "higher", f"{what}: replies equal to a right answer, case, punctuation and articles aside", True),
        Metric(f"{name}_f1", "higher", f"{what}: words shared with the nearest right answer (F1)", True),
    )


TRIVIAQA = Suite(
    name="triviaqa",
    says="trivia questions (Joshi et al., 1705.03551)",
    metrics=metrics_of("triviaqa", "trivia questions"),
    formats=TRIVIA_FORMATS,
    item_of=trivia_item,
    verify=verifier("triviaqa", normalised_trivia, may_be_none=False),
    max_new_tokens=32,
)
SQUAD = Suite(
    name="squad",
    says="questions about a paragraph (Rajpurkar et al., 1606.05250, 1806.03822)",
    metrics=metrics_of("squad", "questions about a paragraph"),
    formats=SQUAD_FORMATS,
    item_of=squad_item,
    verify=verifier("squad", normalised_squad, may_be_none=True),
    max_new_tokens=32,
)
ANSWERS = (TRIVIAQA, SQUAD)
