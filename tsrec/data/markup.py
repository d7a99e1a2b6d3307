"""HTML in item texts -> plain text. Only what is a tag goes: `<Black>` and `3 < 5` stay.

Knows nothing of items: a string in, a string out.
"""

import re
import warnings
from html import unescape

from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning

# The elements of the HTML standard, its obsolete ones too. Those that a page may leave open come first.
_LEFT_OPEN_NAMES = (
    "area base basefont bgsound body br col colgroup command dd dt embed frame head hr html img input isindex "
    "keygen li link meta nextid optgroup option p param plaintext rp rt source tbody td tfoot th thead tr track "
    "wbr"
)
_CLOSED_NAMES = (
    "a abbr acronym address applet article aside audio b bdi bdo big blink blockquote button canvas caption "
    "center cite code data datalist del details dfn dialog dir div dl em fieldset figcaption figure font footer "
    "form frameset h1 h2 h3 h4 h5 h6 header hgroup i iframe ins kbd label legend listing main map mark marquee "
    "math menu meter multicol nav nobr noembed noframes noscript object ol output picture pre progress q rb rtc "
    "ruby s samp script search section select slot small spacer span strike strong style sub summary sup svg "
    "table template textarea time title tt u ul var video xmp"
)
_CODE_ELEMENTS = ("script", "style")
_CLOSED = frozenset(_CLOSED_NAMES.split())
_ELEMENTS = _CLOSED.union(_LEFT_OPEN_NAMES.split())
_HIDDEN = ("script", "style", "template", "noscript", "svg", "math")
_LONG = 4  # letters of a word; <Br> and <P> are none
_TAG = re.compile(
    r"<(?P<end>/?)(?P<name>[a-zA-Z][\w:.-]*)"
    r"(?P<attributes>(?:\s(?:[^<>\"']|\"[^\"]{0,5000}\"|'[^']{0,5000}')*)?)/?>"
)
_OTHER_MARKUP = re.compile(r"<!--.*?(?:-->|$)|<!\[CDATA\[|\]\]>|<!doctype[^>]*>|<\?(?:xml|php)[^>]*>", re.I | re.S)
# Statements of the scripts and style sheets of a saved page, whose tags somebody has removed already.
_CODE = re.compile(
    r"\bvar\s+[\w$]+\s*=|\bfunction\s*[\w$]*\s*\([\w$,\s]*\)\s*\{|\(new Date\(?\)?\)|\.getTime\(\)|\bdocument\.\w+|"
    r"\bwindow\.\w+|\bif\s*\([^)]{1,200}\)\s*\{|[\w$]\s*=\s*[\w$]+\s*\|\||[.#@][\w-]+[^{};]{0,200}\{\s*[\w-]+\s*:[^{};]+;?"
)
_CODE_MARKS = re.compile(r"[;{}=]")


def without_markup(text: str) -> str:
    """The text a reader would see: entities resolved; tags, comments, scripts and styles gone."""
    if "&" in text:
        text = unescape(unescape(text))  # review sites escape twice
    if "<" not in text:
        return text
    text = _OTHER_MARKUP.sub(" ", text)
    tags = _Tags(text)
    if not any(map(tags.has, _TAG.finditer(text))):
        return text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        soup = BeautifulSoup(_only_tags(text, tags), "html.parser")
    for hidden in soup([*_HIDDEN, *({"head"} & tags.closed)]):
        hidden.decompose()
    return soup.get_text(" ")


def is_code(text: str) -> bool:
    """Is this the text of scripts or style sheets, as in titles of saved pages, not of an item?"""
    if len(_CODE_MARKS.findall(text)) < 3:
        return False
    statements = _CODE.findall(text)
    return len(statements) >= 2 and sum(map(len, statements)) + len(_CODE_MARKS.findall(text)) >= 0.1 * len(text)


class _Tags:
    """What in a text is a tag: elements of HTML are, but not what is capitalized as a name is (`<Small>`, `<Head>`),
    unless it is closed or has attributes. Other words are where the text opens and closes them (`<o:p></o:p>`)."""

    def __init__(self, text: str) -> None:
        tags = [(tag["name"].lower(), tag["end"]) for tag in _TAG.finditer(text)]
        self.closed = {name for name, end in tags if end}
        self._opened = {name for name, end in tags if not end}

    def has(self, tag: re.Match[str]) -> bool:
        """Whether a match of `_TAG` is one."""
        name, written = tag["name"].lower(), tag["name"]
        if name not in _ELEMENTS:
            return name in self.closed and name in self._opened
        is_word = written[1:].islower() and written[0].isupper() and (len(name) >= _LONG or name in _CLOSED)
        is_word = is_word or (written.isupper() and len(name) >= _LONG and name in _CLOSED.difference(_CODE_ELEMENTS))
        return bool(tag["end"] or name in self.closed or tag["attributes"].strip() or not is_word)


def _only_tags(text: str, tags: _Tags) -> str:
    """The text with `&lt;` for every `<` that begins no tag, and `&amp;` for every `&`: entities are resolved."""
    parts, start, script = [], 0, None
    for tag in _TAG.finditer(text):
        name = tag["name"].lower()
        if script is not None:  # all within is hidden, whatever it looks like
            script = None if tag["end"] and name == script else script
        elif not tags.has(tag):
            continue
        elif not tag["end"] and name in _CODE_ELEMENTS:
            script = name
        parts += [_escaped(text[start : tag.start()]), tag.group()]
        start = tag.end()
    return "".join([*parts, "" if script else _escaped(text[start:])])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
