"""A document in, the extractive summaries a model must beat out: its first sentences, and its best ones."""

import re
from collections.abc import Callable, Iterator
from itertools import islice

from rouge_score.rouge_scorer import RougeScorer

from summarizer.errors import UserError
from summarizer.evaluation.rouge import StemCachingTokenizer

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
_END_MARKS = re.compile(rf"(?<![.!?…])(?P<marks>[.!?…]+)(?P<closing>[{_CLOSING}]*)(?=\s|$)")
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
    gives no other sign; an ellipsis ends one only before a capital; "left.She" and scripts without spaces
    are not split.
    """
    return list(_sentences(document))


def lead(document: str, num_sentences: int = 3) -> str:
    """The first sentences of a document, one a line: the baseline that news makes hard to beat."""
    _check_count(num_sentences)
    return "\n".join(islice(_sentences(document), num_sentences))


def oracle(document: str, reference: str, max_sentences: int = 3) -> str:
    """The sentences of the document, in its order, one a line, that greedily maximise ROUGE-1 + ROUGE-2 F1.

    About the best that extraction can reach (Liu & Lapata 2019, "Text Summarization with Pretrained
    Encoders"): the sentence that helps most is added until none helps. Greedy search can end below the
    first sentences, which would be a lower bar, so the better of the two is returned.
    """
    _check_count(max_sentences)
    sentences = split_sentences(document)
    scorer = RougeScorer(["rouge1", "rouge2"], tokenizer=_TOKENIZER)

    def quality(places: list[int]) -> float:
        scores = scorer.score(reference, "\n".join(sentences[place] for place in places))
        return float(scores["rouge1"].fmeasure + scores["rouge2"].fmeasure)

    greedy = _grow_greedily(len(sentences), max_sentences, quality)
    first = list(range(min(max_sentences, len(sentences))))
    return "\n".join(sentences[place] for place in max(greedy, first, key=quality))


_TOKENIZER = StemCachingTokenizer()


def _grow_greedily(num_sentences: int, most: int, quality: Callable[[list[int]], float]) -> list[int]:
    """Places of the chosen sentences, ascending; among equals the earliest is chosen."""
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < most:
        candidates = [sorted([*chosen, place]) for place in range(num_sentences) if place not in chosen]
        if not candidates:
            break
        qualities = [quality(candidate) for candidate in candidates]
        if max(qualities) <= best:
            break
        best = max(qualities)
        chosen = candidates[qualities.index(best)]
    return chosen


def _check_count(num_sentences: int) -> None:
    if num_sentences < 1:
        raise UserError(f"number of sentences ({num_sentences}) must be at least 1; lead-3 is usual for news")


def _sentences(document: str) -> Iterator[str]:
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
    marks = match["marks"]
    following = _NEXT_WORD.match(line, match.end())
    next_word = following[1] if following else ""
    if set(marks) & set("!?"):
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
