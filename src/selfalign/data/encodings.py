"""Bytes as text: as a byte order mark says, else UTF-8 where they are, else what the page declares; never a guess.

UTF-8 comes first, since pages that are UTF-8 and declare something older are common, and older text that happens to be
UTF-8 is not. A guess gives letters nobody wrote; a document whose bytes fit nothing it says is refused instead.
"""

from __future__ import annotations

import codecs
import re

from selfalign.data.turns import Misfit

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# A page must name its encoding within its first kilobyte; many put it later.
DECLARED_WITHIN_BYTES = 4096
DECLARED = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
# Of the encodings of the web (WHATWG), what browsers really use for a name; those they do not know are not known here.
REALLY = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8",
}  # fmt: skip
# Its bytes are all below 128, so as UTF-8 they would be read, and as nonsense.
ESCAPED = "iso2022_jp"
OF_THE_WEB = re.compile(r"utf-8|cp125\d|cp874|cp866|cp932|cp949|iso8859-\d+|koi8-[ru]|gb18030|big5|euc_jp|iso2022_jp")


def decoded_page(content: bytes, *, page: bool) -> str:
    """The text of a file; a `page` may declare its encoding.

    Raises:
        Misfit: the bytes are not in the encoding they should be in; names the first bad byte.
    """
    for mark, name in MARKS:
        if content.startswith(mark):
            return decoded(content.removeprefix(mark), (name,))
    declared = declared_encoding(content) if page else None
    if declared is None or declared == "utf-8":
        return decoded(content, ("utf-8",))
    return decoded(content, (declared,) if declared == ESCAPED else ("utf-8", declared))


def declared_encoding(content: bytes) -> str | None:
    """The encoding a page declares, by the codec's name; None when it declares none that the web knows."""
    found = DECLARED.search(content, 0, DECLARED_WITHIN_BYTES)
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
    except (LookupError, ValueError):
        return None
    name = REALLY.get(name, name)
    return name if OF_THE_WEB.fullmatch(name) else None


def decoded(content: bytes, names: tuple[str, ...]) -> str:
    """The bytes in the first encoding that fits all of them."""
    faults = []
    for name in names:
        try:
            return content.decode(name)
        except UnicodeDecodeError as error:
            faults.append(f"byte 0x{content[error.start]:02x} at {error.start + 1:,} is not {name}")
    raise Misfit(f"is in no known encoding: {'; '.join(faults)}; save it as UTF-8")
