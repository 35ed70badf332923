"""Which pieces of a document are worth an instruction: Humpback's filters, and why each refused piece was refused.

The numbers that the paper leaves open are marked as ours. A reason is a kind and, behind a colon, what it is about.
"""

from __future__ import annotations

import re
from collections import defaultdict

from selfalign.corpus.blocks import Piece
from selfalign.corpus.words import count_of, excerpt, runs, words

# Ours: the paper's list is "advertisement", "forum", "quick link", "free newsletter", and so on. Words that chapters
# are called by too ("Tools", "Topics") are not here: what is mere navigation under them is mostly links.
NAVIGATION = (
    "about this site|about us|ad|ads|advertise|advertise with us|advertising|all categories|"
    "article tools|blog archive|blog roll|blogroll|breadcrumbs|categories|category|comment|comments|"
    "connect|connect with us|contact|contact us|contents|cookies|copyright|customer service|"
    "external links|featured|feedback|follow|follow us|footer|forum|forums|get in touch|home|home page|"
    "in this article|in this section|indices and tables|jump to|latest|latest comments|latest news|"
    "latest posts|leave a comment|leave a reply|log in|login|main menu|main navigation|main page|menu|"
    "more|more from|more information|more stories|most popular|most read|my account|navigation|"
    "navigation menu|newsletter|newsletters|on this page|our partners|our sponsors|popular|popular posts|"
    "popular tags|post navigation|print|privacy|privacy policy|product categories|quick link|quick links|"
    "quick search|rate this|recent|recent comments|recent posts|register|related|related articles|"
    "related content|related links|related posts|related products|related topics|search form|"
    "search results|see also|share|shopping cart|sidebar|sign in|sign up|site map|site navigation|"
    "sitemap|skip to content|social|social media|sponsored|sponsored links|sponsors|stay connected|"
    "subscribe|table of contents|tag cloud|terms|terms and conditions|terms of service|terms of use|"
    "this page|toc|trending|user login|user menu|you may also like|your account|your cart"
)
WHOLE_HEADERS = frozenset(NAVIGATION.split("|"))
LIKE_WHOLE_HEADERS = re.compile(
    r"advertisements?|(?:sponsored|promoted|paid) (?:content|post|posts|links?|articles?|stories|by .*)|"
    r"quick links?(?: (?:to|for) .*)?|(?:please )?share (?:this|it)(?: .*)?|"
    r"(?:sign up (?:for|to)|subscribe to|join|get|receive)(?: .*)? "
    r"(?:newsletters?|mailing list|updates|emails?)(?: .*)?|"
    r"(?:our |the |a )?(?:(?:free|daily|weekly|monthly|email) )*newsletters?(?: (?:sign ?up|subscription|archive))?|"
    r"subscribe(?: (?:now|today|here|by email|via email|to (?:us|our|this|the) (?:blog|channel|feed|site|podcast)))?|"
    r"cookie (?:policy|settings|notice|preferences|consent)|(?:we|this (?:web ?)?site) uses? cookies(?: .*)?|"
    r"(?:.* )?all rights reserved|leave a (?:reply|comment)(?: .*)?|related (?:posts|articles)(?: .*)?|"
    r"you (?:may|might) also (?:like|enjoy|be interested in)(?: .*)?"
)
# Ours: whole lines that stand on every page of a site and say nothing; compared as words.
FRAME = re.compile(
    r"(?:.* )?all rights reserved(?: .*)?|copyright(?: (?:c|by|notice|policy|\d{4}) ?.*)?|c \d{4} .*|"
    r"(?:we|(?:we|this site) and our partners|(?:this|our) (?:web ?)?site) uses? cookies(?: .*)?|"
    r"(?:.* )?(?:accept|agree to|consent to) (?:all |our |the use of |our use of )*cookies(?: .*)?|"
    r"cookie (?:policy|settings|notice|preferences|consent)|manage cookies|reject (?:all|cookies)|"
    r"(?:view |read |see )?(?:our |the )?(?:privacy (?:policy|notice)|terms (?:of|and) (?:use|service|conditions))"
    r"(?: and (?:privacy policy|terms (?:of|and) (?:use|service|conditions)|cookie policy))?|"
    r"(?:please )?(?:enable|turn on|activate) javascript(?: .*)?|javascript (?:is|must be) .*|"
    r"(?:this site|this page) (?:requires|needs|works best with) javascript(?: .*)?|"
    r"your browser (?:is (?:out of date|outdated|not supported)|does(?: not|n t) support) ?.*|"
    r"(?:please )?(?:sign|log) ?(?:in|up|out)(?: (?:or|and) (?:sign|log|register) ?(?:in|up)?)?"
    r"(?: to (?:continue|comment|reply|post|view|your account).*)?|click here(?: .*)?|"
    r"(?:read|learn|view|show|see) more|"
    r"read more (?:about|on|from|at|in) .*|(?:please )?(?:share|follow)(?: (?:this|us|on|it))+(?: .*)?|"
    r"powered by(?: .*)?|(?:back|return|scroll) to (?:the )?top|"
    r"(?:skip|jump) to (?:the )?(?:main )?(?:content|navigation)"
)
LONGEST_FRAME_CHARACTERS = 300
BETWEEN_LINKS = re.compile(r"\s[|·•›»/]\s|[|·•›»]")
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\n\s*\n|\n(?=\s*(?:[-*•|#>]|\d+[.)]\s))")
FENCE = re.compile(r"[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?(`{3,}(?=[^`]*$)|~{3,})")
LIST_ITEM = re.compile(r"[ \t]{0,3}(?:[-*+•]|\d+[.)])[ \t]")
CODE_INDENT, CODE_INDENT_IN_LIST = 4, 8
GRAM_WORDS = 3
# Ours: shorter ones (see below; returns None) come back in any good text.
SHORTEST_SENTENCE_WORDS = 6


def header_fault(heading: str) -> str | None:
    """Why a piece under this header is refused, if it is."""
    said = words(heading)
    if not said:
        return "its header is empty"
    if heading.isupper():
        return f"its header is all upper case: {excerpt(heading)}"
    line = " ".join(said)
    if line in WHOLE_HEADERS or LIKE_WHOLE_HEADERS.fullmatch(line):
        return f"its header is one of navigation or advertising: {excerpt(heading)}"
    return None


def length_fault(text: str, *, min_characters: int, max_characters: int) -> str | None:
    """Why a text is too short or too long, if it is."""
    if len(text) < min_characters:
        return f"shorter than {min_characters} characters"
    if len(text) > max_characters:
        return f"longer than {max_characters} characters"
    return None


def boilerplate_fault(piece: Piece, *, max_linked_share: float) -> str | None:
    """Why a piece is no writing of anybody's: mostly links (Kohlschütter et al. 2010), or phrases of a site's frame."""
    share = piece.linked / max(1, len(piece.text))
    if share > max_linked_share:
        return f"mostly links: {min(1.0, share):.0%} of its characters"
    paragraphs = [part for part in piece.text.split("\n") if part.strip()]
    if all(map(is_frame, paragraphs)):
        return "nothing but phrases of a site's frame"
    return None


def is_frame(line: str) -> bool:
    """Whether a whole line, or each of the links it lists, is a phrase of a site's frame."""
    if len(line) > LONGEST_FRAME_CHARACTERS:
        return False
    parts = [" ".join(words(part.replace("©", " c "))) for part in (line, *BETWEEN_LINKS.split(line))]
    whole, *items = parts
    return bool(whole) and (is_phrase(whole) or all(not item or is_phrase(item) for item in items))


def is_phrase(line: str) -> bool:
    """Whether these words are a phrase of a site's frame."""
    return line in WHOLE_HEADERS or FRAME.fullmatch(line) is not None


def without_code(text: str) -> str:
    """The text without its code: two examples of code are alike by nature, and no sentences.

    Fenced by backticks or tildes, indented or not, or indented by four behind an empty line (eight within a list, where
    four go on with an item). A fence that nothing closes goes on to the end, as in CommonMark.
    """
    kept: list[str] = []
    fence, indent, may_begin = "", CODE_INDENT, True
    for line in text.split("\n"):
        opened = FENCE.match(line)
        blank = not line.strip()
        deep = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
        if fence:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            kept.append("")
        elif opened is not None:
            fence = opened[1]
            kept.append("")
        elif blank:
            kept.append("")
            may_begin = True
        elif deep >= indent and may_begin:
            kept.append("")
        else:
            kept.append(line)
            may_begin = False
            if LIST_ITEM.match(line):
                indent = CODE_INDENT_IN_LIST
            elif deep == 0:
                indent = CODE_INDENT
    return "\n".join(kept)


def repetition_fault(text: str, *, overlap: float) -> str | None:
    """Why a text repeats itself: two sentences whose word 3-grams overlap by more than so much (Jaccard).

    Code does not count.
    """
    parts = map(words, SENTENCE_END.split(without_code(text)))
    sentences = [said for said in parts if count_of(said) >= SHORTEST_SENTENCE_WORDS]
    grams = [frozenset(runs(said, GRAM_WORDS)) for said in sentences]
    # Most texts say hardly anything twice, and a pair that overlaps so much says at least this much twice.
    twice = sum(map(len, grams)) - len(frozenset[tuple[str, ...]]().union(*grams))
    if not grams or twice < overlap * min(map(len, grams)):
        return None
    met: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, own in enumerate(grams):
        shared: defaultdict[int, int] = defaultdict(int)
        for gram in own:
            for earlier in met[gram]:
                shared[earlier] += 1
            met[gram].append(place)
        for earlier, count in shared.items():
            if count > overlap * (len(own) + len(grams[earlier]) - count):
                return f"it repeats a sentence: {excerpt(' '.join(sentences[place]))}"
    return None
