"""A text that holds a prompt or an answer of the seeds or of the evaluation is found, and the place shown."""

from __future__ import annotations

import pytest

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


THAI = (
    "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทยเป็นศูนย์กลางการปกครองการศึกษาการคมนาคมขนส่งการเงินการธนาคาร"
    "การพาณิชย์การสื่อสารและความเจริญของประเทศตั้งอยู่บนสามเหลี่ยมปากแม่น้ำเจ้าพระยามีแม่น้ำเจ้าพระยาไหลผ่านและแบ่งเมืองออกเป็นสองฝั่ง"
)
LAO = "ນະຄອນຫຼວງວຽງຈັນເປັນເມືອງຫຼວງຂອງສາທາລະນະລັດປະຊາທິປະໄຕປະຊາຊົນລາວຕັ້ງຢູ່ແຄມແມ່ນ້ຳຂອງ"
KHMER = "ភ្នំពេញគឺជារាជធានីនិងជាទីក្រុងធំបំផុតរបស់ប្រទេសកម្ពុជាដែលស្ថិតនៅលើច្រាំងទន្លេមេគង្គ"
BURMESE = "ရန်ကုန်မြို့သည်မြန်မာနိုင်ငံ၏အကြီးဆုံးမြို့ဖြစ်ပြီးစီးပွားရေးအချက်အချာဖြစ်သည်"


@pytest.mark.parametrize("answer", [THAI, LAO, KHMER, BURMESE])
def test_scripts_without_blanks_are_searched_too(answer: str) -> None:
    made = Known()
    made.add("seed", answer, prompt=False)
    before, after = answer[20:30], answer[3:9]  # what stands beside it is no end of a word
    assert "seed" in str(made.met_in(f"x {before}{answer}{after}"))
    assert "seed" in str(made.met_in("\u200b".join(answer)))
    assert made.met_in(answer[:40]) is None, "forty letters are no thirteen words"
    assert Known().met_in(answer) is None


def test_an_unspaced_prompt_is_found_and_quoted() -> None:
    made, prompt = Known(), "เมืองหลวงของประเทศฝรั่งเศสคืออะไร"
    made.add("eval", prompt, prompt=True)
    assert made.met_in(f"คำถาม{prompt}คำตอบ") == f"holds a known prompt: 'eval', “{prompt}”"
    assert made.met_in("เมืองหลวงของประเทศไทยคืออะไร") is None


@pytest.mark.parametrize(
    "said", ["_France_", "Fra\u00adnce", "Fra\u200bnce", "*Fran\u2060ce*", "\ufeffFrance", "__FRANCE__"]
)
def test_marks_and_invisible_characters_hide_no_word(said: str) -> None:
    made = Known()
    made.add("eval", "What is the capital of France today?", prompt=True)
    met = made.met_in(f"Asked: what is the capital of {said} today? Paris.")
    assert met is not None
    assert "holds a known prompt: 'eval'" in met


def test_hostile_text_is_shown_not_obeyed() -> None:
    met = known().met_in("why is the sky\x1b\u202eblue today")
    assert met is not None
    assert met.isprintable()
    assert "‹U+001B›" in met


def test_nothing_known_meets_nothing() -> None:
    assert Known().met_in(ANSWER) is None
    assert known().met_in("") is None
