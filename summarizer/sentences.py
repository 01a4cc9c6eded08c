"""A text in, its sentences out: rules made for English news, offline."""

import re
from collections.abc import Iterator

# Full stops after these never end a sentence.
_TITLES = re.compile(
    r"adm|approx|capt|cf|col|dr|e\.g|gen|gov|hon|i\.e|lt|maj|messrs|mr|mrs|ms|mt|prof|reps?|rev|sens?|sgt|st|vs"
)
# Not before a number: "no. 5", "jan. 5"; but "he said no. she left".
_BEFORE_NUMBERS = re.compile("apr|aug|dec|eq|feb|fig|jan|jul|jun|mar|nos?|nov|oct|pp|sec|sept?|vol")
# These may end a sentence, as may initials and dotted letters (u.s., p.m.): the next word decides.
_PERHAPS_LAST = re.compile(r"al|ave|blvd|bros|co|corp|dept|est|etc|inc|jr|ltd|ph\.d|sr|(?:[^\W\d_]\.)*[^\W\d_]")
# Words that seldom continue a sentence after an abbreviation ("in the u.s. the man").
_STARTERS = re.compile("he|it|she|the|they|this|we")

_OPENING = "\"'\u201c\u2018(\\[{`"  # straight and curly quotes, brackets
_CLOSING = "\"'\u201d\u2019)\\]}"
# The look-behind starts a match only at the first mark of a run, which keeps hostile input linear.
_MARKS = ".!?…\u061f\u06d4\u0964"  # with the Arabic question mark and full stop, and the danda
_WIDE_MARKS = "\u3002\uff01\uff1f"  # of Chinese and Japanese, which put no space behind them
_WIDE_CLOSING = "\u300d\u300f\uff09" + _CLOSING
_END_MARKS = re.compile(
    rf"(?<![{_MARKS}])(?P<marks>[{_MARKS}]+)(?P<closing>[{_CLOSING}]*)(?=\s|$)"
    rf"|(?<![{_WIDE_MARKS}])(?P<wide>[{_WIDE_MARKS}]+)[{_WIDE_CLOSING}]*"
)
_SPACED_CLOSING = re.compile("\\s+(?:''|-r[rsc]b-|[)\\]}\u201d])(?=\\s|$)")  # as tokenized corpora write them
_SPACED_QUOTE = re.compile(r"\s+\"(?=\s|$)")
_WORD_BEFORE = re.compile(rf"[^\s{_OPENING}]+$")
_NEXT_WORD = re.compile(rf"\s+[{_OPENING}]*(\w*)")
_ATTRIBUTION = re.compile(r"\s+(?:[\w.-]+\s+){0,2}(?:said|says|asked|asks|added|told|wrote)\b", re.IGNORECASE)
_LONGEST_ABBREVIATION = 12  # characters; how far back the word before a full stop is looked for


def split_sentences(document: str) -> list[str]:
    """The sentences of text in any case, as prose ("left. She") or tokens ("left . she"); nothing is lost.

    A newline always ends a sentence. Otherwise . ! ? … end one when white space follows, with the quotes and
    brackets that close behind them, but not after titles and initials (Mr., J. Smith), inside numbers (3.5),
    or in front of the speaker ("Why?" he asked). The rules are made for English news. Known limits: after
    u.s., p.m., inc. and the like only a word such as "the" or "he" starts a sentence, since lower-cased text
    gives no other sign; an ellipsis ends one only before a capital; "left.She" is not split. The full stops and
    question marks of Arabic, Hindi, Chinese and Japanese end sentences too; Thai, which has none, is not split.
    """
    return list(sentences_of(document))


def sentences_of(document: str) -> Iterator[str]:
    """Lazily, so that lead-3 of a very long document reads three sentences of it."""
    for line in document.splitlines():
        yield from _sentences_of_line(line)


def _sentences_of_line(line: str) -> Iterator[str]:
    start = wordless_to = 0
    quotes = 0  # straight quotes up to ``start``: an odd number means that one is open
    for match in _END_MARKS.finditer(line):
        if not _ends_sentence(line, match):
            continue
        if not any(map(str.isalnum, line[wordless_to : match.end()])):
            wordless_to = match.end()
            continue  # a stray mark joins the sentence after it
        quotes += line.count('"', start, match.end())
        end = _after_spaced_closing(line, match.end(), quotes)
        yield line[start:end].strip()
        quotes += line.count('"', match.end(), end)
        start = wordless_to = end
    if rest := line[start:].strip():
        yield rest


def _ends_sentence(line: str, match: re.Match[str]) -> bool:
    if match["wide"]:
        return True
    marks = match["marks"]
    following = _NEXT_WORD.match(line, match.end())
    next_word = following[1] if following else ""
    if set(marks) - set(".…"):
        return not (match["closing"] and _ATTRIBUTION.match(line, match.end()))
    if marks != ".":
        return next_word[:1].isupper()
    before = _WORD_BEFORE.search(line, max(0, match.start() - _LONGEST_ABBREVIATION), match.start())
    return _full_stop_ends(before[0].lower() if before else "", next_word.lower())


def _full_stop_ends(word: str, next_word: str) -> bool:
    """Whether the full stop right after ``word`` (empty where a space comes between) ends a sentence."""
    if _TITLES.fullmatch(word):
        return False
    if _BEFORE_NUMBERS.fullmatch(word):
        return not next_word[:1].isdigit()
    if _PERHAPS_LAST.fullmatch(word):
        return _STARTERS.fullmatch(next_word) is not None
    return True


def _after_spaced_closing(line: str, end: int, quotes: int) -> int:
    """Where the sentence really ends, when tokenization put a space before its closing quote or bracket."""
    if match := _SPACED_CLOSING.match(line, end):
        return match.end()
    # A straight quote between two spaces closes if one is open, and opens the next sentence if not.
    if (match := _SPACED_QUOTE.match(line, end)) and quotes % 2 == 1:
        return match.end()
    return end
