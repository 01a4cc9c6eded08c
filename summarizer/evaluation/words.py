"""A text in, the words that ROUGE compares out: in English those of ``rouge-score``, elsewhere those of Unicode."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from importlib.metadata import version

from nltk.stem.porter import PorterStemmer

from summarizer.errors import UserError

Words = Callable[[str], list[str]]

ENGLISH = "en"

# ISO 639-1; only a typing mistake should be refused.
LANGUAGES = frozenset(
    """
    af am ar as az be bg bn bo br bs ca cs cy da de el en eo es et eu fa fi fo fr fy ga gd gl gu ha he hi hr ht hu hy
    id ig is it ja jv ka kk km kn ko ku ky la lb lo lt lv mg mi mk ml mn mr ms mt my nb ne nl nn no om or pa pl ps pt
    rn ro ru rw sd si sk sl sm sn so sq sr st su sv sw ta te tg th ti tk tl tn tr tt ug uk ur uz vi wo xh yi yo zh zu
    """.split()  # noqa: SIM905 - a list of so many would be a column
)

_LONGEST_UNSTEMMED = 3  # letters: rouge-score stems longer words only
_MOST_STEMS = 1 << 18  # bounds the memory of the stems (about 40 MB); a news vocabulary fits
_ENGLISH_WORD = re.compile("[a-z0-9]+")
# Han with its repetition marks, kana, Thai, Lao, Myanmar, Khmer: written without spaces between words.
_UNSPACED = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED += "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_SHOWN_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+(?:['\u2019][^\W_{_UNSPACED}]+|(?<=\d)[.,]\d+)*")
_UNICODE_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def words_of(language: str) -> Words:
    """How to find the words of ``language``.

    "en" gives those of ``rouge-score`` with stemmer: runs of a-z and 0-9, stemmed. Every other language gives runs of
    letters, combining marks and digits of any script, in lower case, NFC, unstemmed; where a script is written
    without spaces (Chinese, Japanese, Thai...), each of its characters is a word.

    Raises UserError if ``language`` is no ISO 639-1 code.
    """
    if language not in LANGUAGES:
        raise UserError(f"language ({language}) must be a two-letter code of ISO 639-1, such as en, vi, ru or zh")
    return _english_words() if language == ENGLISH else unicode_words


def describe_words(language: str) -> str:
    """For the protocol."""
    if language == ENGLISH:
        return f"Porter stemmer (nltk {version('nltk')}); default tokenizer, a-z and 0-9 only"
    return f"no stemmer; Unicode tokenizer for {language}, characters of unspaced scripts one by one"


class _Stems(dict[str, str]):
    """Words to their stems, each found once."""

    def __init__(self) -> None:
        super().__init__()
        self._stemmer = PorterStemmer()

    def __missing__(self, word: str) -> str:
        if len(self) >= _MOST_STEMS:
            self.clear()
        stem: str = self._stemmer.stem(word) if len(word) > _LONGEST_UNSTEMMED else word
        self[word] = stem
        return stem


@functools.cache
def _english_words() -> Words:
    """One for each process, with the stems that it knows."""
    stems = _Stems()

    def english_words(text: str) -> list[str]:
        return [stem for word in _ENGLISH_WORD.findall(text.lower()) if (stem := stems[word])]

    return english_words


def forget_stems() -> None:
    """Start anew, as a process does."""
    _english_words.cache_clear()


class _WordCharacters(dict[int, str]):
    """For ``str.translate``: letters, marks and digits stay, all else becomes a space."""

    def __missing__(self, codepoint: int) -> str:
        character = chr(codepoint)
        kept = character if unicodedata.category(character)[0] in "LMN" else " "
        self[codepoint] = kept
        return kept


_WORD_CHARACTERS = _WordCharacters()


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of ``text`` as it is begin and end, for people to look at."""
    return [found.span() for found in _SHOWN_WORD.finditer(text)]


def unicode_words(text: str) -> list[str]:
    """See :func:`words_of`."""
    lowered = unicodedata.normalize("NFC", text.lower())
    words: list[str] = _UNICODE_WORD.findall(lowered.translate(_WORD_CHARACTERS))
    return words
