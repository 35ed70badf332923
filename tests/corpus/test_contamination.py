"""A text that holds a prompt or an answer of the seeds or of the evaluation is found, and the place shown."""

from __future__ import annotations

from selfalign.corpus.contamination import Known

ANSWER = "The quick brown fox jumps over the lazy dog while thirteen other animals look on in silent wonder."


def known() -> Known:
    made = Known()
    made.add("seed-1", ANSWER, prompt=False)
    made.add("eval-1", "Why is the sky blue today?", prompt=True)
    made.add("eval-2", "Write a poem.", prompt=True)
    made.add("eval-3", "It is six words long, this.", prompt=False)
    return made


def test_a_shared_run_of_thirteen_words_is_quoted_as_it_stands() -> None:
    text = "Once: the QUICK brown fox — jumps over the lazy dog,\nwhile thirteen other animals slept."
    met = known().met_in(text)
    assert met is not None
    assert met.startswith(
        "shares 13 words with a known row: 'seed-1', “the QUICK brown fox — jumps over the lazy dog, while"
    )
    assert len(met) < 160


def test_twelve_words_are_not_enough() -> None:
    assert known().met_in("The quick brown fox jumps over the lazy dog while thirteen other") is None


def test_a_whole_short_prompt_counts_and_a_shorter_one_or_an_answer_does_not() -> None:
    assert known().met_in("People ask: why is the SKY blue, today?!") == (
        "holds a known prompt: 'eval-1', “why is the SKY blue, today”"
    )
    assert known().met_in("Why is the sky blue at noon? Write a poem. It is six words long, this.") is None


def test_hostile_text_is_shown_not_obeyed() -> None:
    met = known().met_in("why is the sky\x1b\u202eblue today")
    assert met is not None
    assert met.isprintable()
    assert "‹U+001B›" in met


def test_nothing_known_meets_nothing() -> None:
    assert Known().met_in(ANSWER) is None
    assert known().met_in("") is None
