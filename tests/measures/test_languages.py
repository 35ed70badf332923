"""Languages of texts: clear texts are told apart, doubtful ones left open, hostile ones harmless."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.measures.languages import UNDETERMINED, language_mix, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Write a poem about the sea.", "en"),
        ("What is love?", "en"),
        ("WHAT IS THE CAPITAL OF ENGLAND AND WHERE IS IT?", "en"),
        ("¿Cuál es la capital de Francia?", "es"),
        ("Bonjour, je voudrais un café.", "fr"),
        ("Guten Tag, wie geht es Ihnen?", "de"),
        ("Привет, как дела сегодня?", "ru"),
        ("今天天气很好，我们去公园吧。", "zh"),
        ("你好", "zh"),
        ("これはペンです", "ja"),
        ("한국어 문장입니다", "ko"),
        ("مرحبا كيف حالك", "ar"),
    ],
)
def test_clear_texts_have_their_language(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "12345 67.8 90", "!!!???", "I", "x = y^2 + 3z", "reverse: stone", "uppercase: hello",
        "for (int i=0;i<n;i++) { a[i] = b[i]; }", "def f(x):\n    return x + 1\n", "SELECT * FROM t WHERE a=1;",
        "asdkjh qwe zxc", "\ud800\udfff\ud800", "\x00" * 100,
    ],
)  # fmt: skip
def test_short_commands_code_and_what_is_no_language_stay_undetermined(text: str) -> None:
    assert language_of(text) == UNDETERMINED


def test_half_a_surrogate_pair_does_not_hide_a_language() -> None:
    assert language_of("\ud800Write a poem\udfff about the sea.") == "en"


def test_only_the_beginning_of_a_long_text_counts() -> None:
    english, russian = "Write a poem about the sea. " * 100, "Какой город является столицей Франции? " * 30_000
    assert language_of(english + russian) == "en"
    assert language_of(russian + english) == "ru"


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(), max_size=300))
def test_any_text_has_an_answer_and_always_the_same(text: str) -> None:
    found = language_of(text)
    assert found == UNDETERMINED or len(found) == 2
    assert language_of(text) == found


def test_a_mix_is_shares_largest_first() -> None:
    texts = ["Write a poem about the sea.", "", "¿Cuál es la capital de Francia?", "Name three fruits", "7"]
    assert list(language_mix(texts).items()) == [("en", 0.4), (UNDETERMINED, 0.4), ("es", 0.2)]
    assert language_mix(text for text in texts[:1]) == {"en": 1.0}
    assert language_mix([]) == {}


def test_the_classifier_is_not_loaded_before_a_text_is_looked_at() -> None:
    code = (
        "import sys, selfalign.measures.languages as one, selfalign.measures.diversity\n"
        "assert not {'py3langid', 'numpy'} & set(sys.modules)\n"
        "import warnings; warnings.simplefilter('error')\n"
        "print(one.language_of('Write a poem about the sea.'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("en\n", "")
