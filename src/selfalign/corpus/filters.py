"""Which pieces of a document are worth an instruction: Humpback's filters, and why each refused piece was refused.

The numbers that the paper leaves open are marked as ours. A reason is a kind and, behind a colon, what it is about.
"""

from __future__ import annotations

import re
from collections import defaultdict

from selfalign.corpus.blocks import Piece
from selfalign.corpus.words import excerpt, runs, words

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
WITHIN_HEADERS = re.compile(
    r"\b(advertisements?|sponsored|free newsletters?|quick links?|newsletter sign ?up|sign up for|subscribe to|"
    r"share this|cookie policy|we use cookies|all rights reserved|leave a (?:reply|comment)|related (?:posts|articles)|"
    r"you (?:may|might) also (?:like|enjoy)|join our (?:mailing list|newsletter))\b"
)
# Ours: what stands on every page of a site and says nothing.
BOILERPLATE = re.compile(
    r"\b(all rights reserved|copyright|©|cookies?|privacy policy|terms (?:of|and) (?:use|service|conditions)|"
    r"javascript|your browser|subscribe|newsletter|sign (?:in|up)|log ?in|click here|read more|share (?:this|on)|"
    r"follow us|powered by|back to top|skip to)\b|©",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\n\s*\n|\n(?=\s*(?:[-*•|#>]|\d+[.)]\s))")
# Two examples of code are alike by nature, and no sentences.
CODE = re.compile(r"^(```+).*?^\1", re.DOTALL | re.MULTILINE)
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
    if line in WHOLE_HEADERS or WITHIN_HEADERS.search(line):
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
    if all(len(part) < 300 and BOILERPLATE.search(part) for part in paragraphs):
        return "nothing but phrases of a site's frame"
    return None


def repetition_fault(text: str, *, overlap: float) -> str | None:
    """Why a text repeats itself: two sentences whose word 3-grams overlap by more than so much (Jaccard).

    Code between fences does not count.
    """
    prose = CODE.sub("\n\n", text) if "```" in text else text
    sentences = [said for part in SENTENCE_END.split(prose) if len(said := words(part)) >= SHORTEST_SENTENCE_WORDS]
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
