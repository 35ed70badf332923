"""Rendering: the exact tokens a model sees, for engines and trainers alike."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from selfalign.errors import EngineError
from selfalign.render import answer_ids, prompt_ids, prompt_text, rendered, rendered_together, with_system
from selfalign.types import Chat, Message, Rendering
from selfalign.weights import TOY_FOLDER

unhurried = settings(deadline=None, max_examples=60)
texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=30)
DOUBLE = Rendering(answer_end="official-double")


@cache
def toy() -> Any:
    """The toy model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TOY_FOLDER)


def user(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def chat(question: str, answer: str | None, *, finished: bool = True) -> Chat:
    return Chat(id="one", prompt=user(question), answer=answer, finished=finished)


def end() -> int:
    found: int = toy().eos_token_id
    return found


def newline() -> list[int]:
    found: list[int] = toy().encode("\n", add_special_tokens=False)
    return found


renderings = some.builds(
    Rendering, prompt=some.sampled_from(["chat", "instruction-response", "alpaca"]),
    context=some.sampled_from(["prompt", "header"]),
    answer_end=some.sampled_from(["natural", "official-double"]), system=some.none() | texts,
    max_length=some.integers(2, 60), max_prompt_length=some.none() | some.integers(1, 80),
)  # fmt: skip


@unhurried
@given(question=texts, answers=some.lists(texts, min_size=1, max_size=3), finished=some.booleans(), how=renderings)
def test_whatever_is_rendered_fits_shares_its_prompt_and_marks_exactly_the_answer(
    question: str, answers: list[str], finished: bool, how: Rendering
) -> None:
    chats = tuple(chat(question, answer, finished=finished) for answer in answers)
    sequences = rendered_together(toy(), chats, how)
    whole_prompt = prompt_ids(toy(), chats[0], how)
    lengths = set()
    for one, sequence in zip(chats, sequences, strict=True):
        whole_answer = answer_ids(toy(), one, how)
        assert len(sequence.ids) == len(sequence.loss) == len(sequence.attention) <= how.max_length
        length = len(sequence.ids) - sum(sequence.loss)
        lengths.add(length)
        assert sequence.loss == (False,) * length + (True,) * sum(sequence.loss)
        assert 1 <= length <= max(1, how.max_length - 1)
        assert sequence.ids[:length] == tuple(whole_prompt[-length:]), "prompts lose their oldest tokens"
        kept = sequence.ids[length:]
        assert kept == tuple(whole_answer[: len(kept)]), "answers lose their last tokens"
        assert kept or not whole_answer, "some of an answer always stays"
    assert len(lengths) == 1


@unhurried
@given(question=texts, answer=texts)
def test_a_finished_answer_ends_in_one_end_token_and_a_cut_one_in_none(question: str, answer: str) -> None:
    whole, cut = (rendered(toy(), chat(question, answer, finished=done), Rendering()) for done in (True, False))
    assert whole.ids == (*cut.ids, end())
    answered = [token for token, is_answer in zip(cut.ids, cut.loss, strict=True) if is_answer]
    assert end() not in answered
    assert toy().decode(answered) == answer
    assert whole.attention == (True,) * len(whole.ids)


@unhurried
@given(question=texts, answer=texts, finished=some.booleans())
def test_the_official_double_end_hides_every_earlier_end_token(question: str, answer: str, finished: bool) -> None:
    sequence = rendered(toy(), chat(question, answer, finished=finished), DOUBLE)
    assert sequence.ids[-len(newline()) - 2 :] == (end(), *newline(), end())
    assert sequence.attention[-1]
    for token, seen in zip(sequence.ids[:-1], sequence.attention[:-1], strict=True):
        assert seen == (token != end())


def test_the_official_double_end_hides_end_tokens_of_the_prompt_too() -> None:
    turns = (*user("a"), Message(role="assistant", content="b"), *user("c"))
    sequence = rendered(toy(), Chat(id="one", prompt=turns, answer="d"), DOUBLE)
    prompt = [place for place, token in enumerate(sequence.ids) if token == end() and not sequence.loss[place]]
    assert prompt, "the toy's template ends turns with the end token"
    assert not any(sequence.attention[place] for place in prompt)


def test_a_prompt_that_is_too_long_is_cut_to_its_last_tokens_then_the_answers() -> None:
    long, short = chat("q" * 50, "a" * 30), chat("q" * 50, "a" * 3)
    how = Rendering(max_length=40, max_prompt_length=15)
    prompt = prompt_ids(toy(), long, replace(how, max_length=10_000))
    answers = [answer_ids(toy(), one, how) for one in (long, short)]
    assert len(prompt) + len(answers[0]) > 40
    assert len(answers[0]) > 40 - 15, "so that both steps of the cutting are seen"
    one, other = rendered_together(toy(), (long, short), how)
    assert one.ids == (*prompt[-15:], *answers[0][: 40 - 15])
    assert other.ids == (*prompt[-15:], *answers[1])
    alone = rendered(toy(), short, replace(how, max_length=len(prompt) + len(answers[1])))
    assert alone.ids == (*prompt, *answers[1]), "what fits is not cut"


def test_without_a_prompt_length_the_prompt_gives_way_to_the_longest_answer() -> None:
    long, short = chat("q" * 50, "a" * 30), chat("q" * 50, "a" * 3)
    one, other = rendered_together(toy(), (long, short), Rendering(max_length=40))
    answer = answer_ids(toy(), long, Rendering())
    assert one.ids[-len(answer) :] == tuple(answer)
    assert len(one.ids) == 40
    assert one.prompt_length == other.prompt_length == 40 - len(answer)


@unhurried
@given(texts)
def test_the_wrapper_is_exactly_spins(question: str) -> None:
    how = Rendering(prompt="instruction-response", system="not used")
    assert prompt_text(toy(), user(question), how) == f"### Instruction: {question}\n\n### Response: "
    with_its_own = (Message(role="system", content="s"), *user(question))
    assert prompt_text(toy(), with_its_own, how) == f"### Instruction: {question}\n\n### Response: "


@unhurried
@given(texts)
def test_the_alpaca_prompt_is_exactly_the_one_without_input(question: str) -> None:
    assert prompt_text(toy(), user(question), Rendering(prompt="alpaca")) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        f"\n\n### Instruction:\n{question}\n\n### Response:"
    )


def test_the_alpaca_prompt_is_led_by_the_begin_token_if_there_is_one() -> None:
    with_one, without = copy.deepcopy(toy()), copy.deepcopy(toy())
    with_one.bos_token, without.bos_token = with_one.eos_token, None
    how = Rendering(prompt="alpaca")
    text = toy().encode(prompt_text(toy(), user("a"), how), add_special_tokens=False)
    assert prompt_ids(with_one, chat("a", None), how) == [with_one.bos_token_id, *text]
    assert prompt_ids(without, chat("a", None), how) == text
    wrapper = Rendering(prompt="instruction-response")
    assert prompt_ids(with_one, chat("a", None), wrapper)[0] != with_one.bos_token_id, "templates write their own"


@pytest.mark.parametrize("prompt", ["chat", "instruction-response", "alpaca"])
def test_the_header_is_what_stands_between_the_prompt_and_the_answer(prompt: Any) -> None:
    whole, header = Rendering(prompt=prompt), Rendering(prompt=prompt, context="header")
    end_of_prompt = prompt_text(toy(), user("a question"), header)
    assert end_of_prompt
    assert "question" not in end_of_prompt
    assert prompt_text(toy(), user("a question"), whole).endswith(end_of_prompt)
    assert prompt_text(toy(), user("another"), header) == end_of_prompt, "whatever was asked"
    one, other = (rendered(toy(), chat("a question", "an answer"), how) for how in (whole, header))
    assert one.ids[one.prompt_length :] == other.ids[other.prompt_length :]
    assert one.prompt_length > other.prompt_length > 0


def test_the_headers_of_the_wrappers_are_their_last_line() -> None:
    assert prompt_text(toy(), user("a"), Rendering(prompt="alpaca", context="header")) == "### Response:"
    wrapper = Rendering(prompt="instruction-response", context="header")
    assert prompt_text(toy(), user("a"), wrapper) == "### Response: "


def test_a_template_without_a_header_gives_the_end_token_in_its_place() -> None:
    plain = copy.deepcopy(toy())
    plain.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    header = Rendering(context="header")
    assert prompt_ids(plain, chat("a", None), header) == [end()]
    sequence = rendered(plain, chat("a", "b"), header)
    assert sequence.ids[0] == end()
    assert sequence.loss[:2] == (False, True)


def test_a_template_that_changes_the_prompt_for_its_header_is_refused() -> None:
    odd = copy.deepcopy(toy())
    odd.chat_template = "{% if add_generation_prompt %}now: {% endif %}{{ messages[0]['content'] }}"
    with pytest.raises(EngineError, match=r"no header of its own.*'alpaca'"):
        prompt_text(odd, user("a"), Rendering(context="header"))


@pytest.mark.parametrize("turns", [(), (*user("a"), Message(role="assistant", content="b"), *user("c"))])
def test_the_wrapper_refuses_what_is_not_one_turn(turns: tuple[Message, ...]) -> None:
    with pytest.raises(EngineError, match="set it to 'chat' for conversations"):
        prompt_text(toy(), turns, Rendering(prompt="instruction-response"))
    with pytest.raises(EngineError, match="'alpaca' takes prompts with one user turn"):
        prompt_text(toy(), turns, Rendering(prompt="alpaca"))


def test_a_system_message_is_put_in_front_only_when_there_is_none() -> None:
    how = Rendering(system="be brief")
    assert with_system(user("a"), how) == (Message(role="system", content="be brief"), *user("a"))
    own = (Message(role="system", content="be long"), *user("a"))
    assert with_system(own, how) == own
    assert with_system(user("a"), Rendering()) == user("a")
    assert with_system(user("a"), Rendering(system=""))[0].content == ""


def test_what_a_tokenizer_lacks_is_said_with_the_remedy() -> None:
    bare = copy.deepcopy(toy())
    bare.chat_template = None
    with pytest.raises(EngineError, match=r"chat_template\.jinja.*instruction-response"):
        prompt_text(bare, user("a"), Rendering())
    assert prompt_text(bare, user("a"), Rendering(prompt="instruction-response")).startswith("### Instruction")
    bare.eos_token = None
    with pytest.raises(EngineError, match="eos_token"):
        answer_ids(bare, chat("a", "b"), Rendering())
    with pytest.raises(EngineError, match="'one' has no answer"):
        answer_ids(toy(), chat("a", None), Rendering())


# ------------------------------------------------------------------------------------- text for base models

TEXT_FORMS = ("plain", "continued", "dialogue")


def test_texts_for_base_models_are_exactly_these() -> None:
    said = Message(role="assistant", content="b\n\n")
    turns = (Message(role="system", content="Be kind.\n"), *user(" a "), said, *user("c"))
    dialogue = Rendering(prompt="dialogue")
    assert prompt_text(toy(), turns, dialogue) == (
        "Be kind.\n\n### User\na\n\n### Assistant\nb\n\n### User\nc\n\n### Assistant\n"
    )
    assert prompt_text(toy(), user("a"), replace(dialogue, system="s", suffix="t")) == (
        "s\n\n### User\na\n\nt\n\n### Assistant\n"
    )
    assert prompt_text(toy(), turns, replace(dialogue, context="header")) == "### Assistant\n"
    assert prompt_text(toy(), user("a"), Rendering(prompt="plain")) == "a\n"
    assert prompt_text(toy(), user("a"), Rendering(prompt="continued")) == "a"


@pytest.mark.parametrize("prompt", TEXT_FORMS)
@pytest.mark.parametrize("template", ["$A", "[begin] $A", "$A [end]", "[begin] [begin] $A [end]"])
def test_texts_are_led_by_what_the_tokenizer_puts_before_any_text(prompt: Any, template: str) -> None:
    from tokenizers.processors import TemplateProcessing

    dressing = copy.deepcopy(toy())
    begin, end_token = dressing.bos_token_id, dressing.eos_token_id
    names = dressing.convert_ids_to_tokens([begin, end_token])
    template = template.replace("[begin]", names[0]).replace("[end]", names[1])
    dressing.backend_tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[(names[0], begin), (names[1], end_token)]
    )
    how = Rendering(prompt=prompt)
    bare = dressing.encode(prompt_text(dressing, user("a question"), how), add_special_tokens=False)
    before = [begin] * template.split("$A")[0].count(names[0])
    assert prompt_ids(dressing, chat("a question", None), how) == [*before, *bare]
    sequence = rendered(dressing, chat("a question", "an answer"), how)
    assert sequence.ids == (*before, *bare, *answer_ids(dressing, chat("a", "an answer"), how))
    assert sequence.prompt_length == len(before) + len(bare)


# --------------------------------------------------------------------------------------------- hostile texts

forgeries = some.lists(
    some.sampled_from(
        ["### User", "### Assistant", "###\tuser ", "#", " ", "\t", "\n", "\r\n", "\n\n", "a", "### Step"]
    ),
    max_size=8,
).map("".join)


@unhurried
@given(said=some.lists(forgeries, min_size=1, max_size=4), system=forgeries, suffix=forgeries)
def test_nothing_that_is_said_passes_for_a_heading_of_a_dialogue(said: list[str], system: str, suffix: str) -> None:
    roles = ("user", "assistant")
    turns = tuple(Message(role=roles[number % 2], content=text) for number, text in enumerate(said))  # type: ignore[arg-type]
    text = prompt_text(toy(), turns, Rendering(prompt="dialogue", system=system, suffix=suffix))
    headings = re.findall(r"^###[ \t]*(user|assistant)\b", text, re.MULTILINE | re.IGNORECASE)
    assert headings == [*(("User", "Assistant")[number % 2] for number in range(len(said))), "Assistant"]


def test_other_headings_of_a_text_are_left_alone() -> None:
    text = "### Steps\n#### User\n## Assistant\nThe ### User heading.\n### Username"
    assert prompt_text(toy(), user(text), Rendering(prompt="dialogue")) == f"### User\n{text}\n\n### Assistant\n"


@pytest.mark.parametrize("how", [Rendering(), Rendering(prompt="alpaca"), Rendering(prompt="instruction-response")])
def test_no_text_writes_a_control_token(how: Rendering) -> None:
    """Texts come from the web and from models: one that ends its own turn could write the next one too."""
    hostile = "one".join(toy().all_special_tokens) + toy().eos_token
    plain = set(rendered(toy(), chat("a", "b"), how).ids)
    told = rendered(toy(), chat(hostile, hostile), how)
    control = set(toy().all_special_ids)
    assert control & set(told.ids) == control & plain
    answer = [token for token, target in zip(told.ids, told.loss, strict=True) if target]
    assert answer.count(end()) == 1
    assert answer[-1] == end()
