"""Word segmentation in any script. Knows nothing of keywords, languages or stop words.

Words are runs of letters with their combining marks (Hindi, Thai, Arabic). Scripts written without blanks between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are cut by ICU's dictionaries; a name that they do not know falls
into syllables or single characters. Addresses and names of image files hold no words: their `https` and `jpg` say
nothing of an item.
"""

import unicodedata
from collections.abc import Iterator

import regex
from icu4py.breakers import WordBreaker

_BLANKLESS = r"\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# The joiners inside words of Persian and Hindi; zero-width, and no letters to Unicode.
_LETTER = rf"[[\p{{L}}\p{{M}}\u200c\u200d]--[{_BLANKLESS}]]"
# Letters only: sizes, years and part numbers tell items apart but do not say what they are. One letter is no word,
# but one syllable of Korean is.
_PIECE = regex.compile(
    rf"""(?xV1)
    (?P<blankless> [[{_BLANKLESS}]&&[\p{{L}}\p{{M}}]]+ )
    | (?<! {_LETTER} | [\p{{N}}_] )
      (?: {_LETTER}{{2,}} | \p{{Hangul}} ) (?: ['’\-‐‑] {_LETTER}+ )*
      (?! {_LETTER} | [\p{{N}}_] )
    """
)
# ASCII alone, and no comma: what stands behind an address without a blank is text again. Each way begins where a run of
# its characters begins, so that a long run is gone through once.
_IN_ADDRESS = r"[\x21-\x7e--[,;|\"'<>()\[\]{}]]"
_ADDRESS = regex.compile(
    rf"""(?xV1)
    data: [a-z0-9/.+\-]* ;base64, [a-z0-9+/=]*
    | (?<! [a-z0-9.+\-] ) (?: [a-z0-9.+\-]+ :// | www\. ) {_IN_ADDRESS}+
    | (?<! {_IN_ADDRESS} ) {_IN_ADDRESS}*? \. (?: jpe?g | png | gif | webp | avif | svg | bmp | tiff? )
      (?: \? {_IN_ADDRESS}* )? (?! [a-z0-9] )
    """
)
# One Chinese character is often a word; one kana, or one letter of Thai with its marks, is an ending or a fragment.
_BLANKLESS_WORD = regex.compile(r"(?V1)[\p{scx=Han}&&\p{L}]|(?:\p{L}\p{M}*){2,}")
_ONE_SPELLING = str.maketrans("’‐‑", "'--")
_BETWEEN_BLANKLESS = regex.compile(rf"(?V1)(?<=[{_BLANKLESS}]) (?=[{_BLANKLESS}])")


def split_words(text: str) -> Iterator[str]:
    """The words of a text in lower case, in their order; apostrophes and hyphens in one spelling each."""
    for piece in _PIECE.finditer(_without_addresses(unicodedata.normalize("NFC", text.lower()))):
        if piece["blankless"]:
            yield from (word for word in WordBreaker(piece[0], "und") if _BLANKLESS_WORD.fullmatch(word))
        else:
            yield piece[0].translate(_ONE_SPELLING)


def split_pieces(text: str) -> Iterator[str]:
    """All that stands between blanks and signs, in lower case: words, single letters, numbers, part numbers."""
    text = _without_addresses(text.lower())
    return (piece for piece in WordBreaker(text, "und") if any(map(str.isalnum, piece)))


def without_inner_blanks(phrase: str) -> str:
    """A phrase of words joined by blanks, without the blanks inside scripts that are written without any."""
    return _BETWEEN_BLANKLESS.sub("", phrase)


def _without_addresses(text: str) -> str:
    """A text in lower case with a blank in place of every address and name of an image file."""
    return str(_ADDRESS.sub(" ", text))
