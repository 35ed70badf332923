"""The constraint families of IFEval and IFBench, each with the settings that its rows must give.

Kept here so that a plan can refuse a row without loading a verifier; a test compares it with the package.
"""

from __future__ import annotations

from collections.abc import Mapping

Families = Mapping[str, tuple[str, ...]]


def families(*lines: str) -> Families:
    """A family a line: its name, then its settings."""
    return {name: tuple(settings) for name, *settings in (line.split() for line in lines)}


IFEVAL_FAMILIES = families(
    "keywords:existence keywords",
    "keywords:frequency keyword frequency relation",
    "keywords:forbidden_words forbidden_words",
    "keywords:letter_frequency letter let_frequency let_relation",
    "language:response_language language",
    "length_constraints:number_sentences num_sentences relation",
    "length_constraints:number_paragraphs num_paragraphs",
    "length_constraints:number_words num_words relation",
    "length_constraints:nth_paragraph_first_word num_paragraphs nth_paragraph first_word",
    "detectable_content:number_placeholders num_placeholders",
    "detectable_content:postscript postscript_marker",
    "detectable_format:number_bullet_lists num_bullets",
    "detectable_format:constrained_response",
    "detectable_format:number_highlighted_sections num_highlights",
    "detectable_format:multiple_sections section_spliter num_sections",
    "detectable_format:json_format",
    "detectable_format:title",
    "combination:two_responses",
    "combination:repeat_prompt prompt_to_repeat",
    "startend:end_checker end_phrase",
    "change_case:capital_word_frequency capital_frequency capital_relation",
    "change_case:english_capital",
    "change_case:english_lowercase",
    "punctuation:no_comma",
    "startend:quotation",
)
IFBENCH_FAMILIES = families(
    "count:word_count_range min_words max_words",
    "count:unique_word_count N",
    "ratio:stop_words percentage",
    "ratio:sentence_type",
    "ratio:sentence_balance",
    "count:conjunctions small_n",
    "count:person_names N",
    "ratio:overlap reference_text percentage",
    "count:numbers N",
    "words:alphabet",
    "words:vowel",
    "words:consonants",
    "sentence:alliteration_increment",
    "words:palindrome",
    "count:punctuation",
    "format:parentheses",
    "format:quotes",
    "words:prime_lengths",
    "format:options options",
    "format:newline",
    "format:emoji",
    "ratio:sentence_words",
    "count:words_japanese N",
    "words:start_verb",
    "words:repeats small_n",
    "sentence:keyword word N",
    "count:pronouns N",
    "words:odd_even_syllables",
    "words:last_first",
    "words:paragraph_last_first",
    "sentence:increment small_n",
    "words:no_consecutive",
    "format:line_indent",
    "format:quote_unquote",
    "format:list sep",
    "format:thesis",
    "format:sub-bullets",
    "format:no_bullets_bullets",
    "custom:multiples",
    "custom:mcq_count_length",
    "custom:reverse_newline",
    "custom:word_reverse",
    "custom:character_reverse",
    "custom:sentence_alphabet",
    "custom:european_capitals_sort",
    "custom:csv_city",
    "custom:csv_special_character",
    "custom:csv_quotes",
    "custom:date_format_list",
    "count:keywords_multiple keyword1 keyword2 keyword3 keyword4 keyword5",
    "words:keywords_specific_position keyword n m",
    "words:words_position keyword",
    "repeat:repeat_change prompt_to_repeat",
    "repeat:repeat_simple",
    "repeat:repeat_span prompt_to_repeat n_start n_end",
    "format:title_case",
    "format:output_template",
    "format:no_whitespace",
)
