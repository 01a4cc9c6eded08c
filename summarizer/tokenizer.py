"""Text in, token ids out, and back: trains and wraps a SentencePiece model that keeps newlines.

A newline separates sentences of a summary, and SentencePiece alone would turn it into a space. Text is first
brought into one form (``normalize``); ``decode(encode(text)) == normalize(text)`` for every string.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import itertools
import os
import re
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import sentencepiece

from summarizer.errors import UserError

PAD_ID = 0
UNK_ID = 1
START_ID = 2
END_ID = 3
END_PIECE = "</s>"  # SentencePiece's name for the end id

NEWLINE_PIECE = "\ue00a"  # private use: unlike "<n>", no text means anything by it
NEWLINE_LABEL = "<n>"  # how people see that piece
_SPACE_PIECE = "\u2581"  # how SentencePiece writes a space

_NUM_BYTES = 256
_SMALLEST_VOCABULARY = END_ID + 1 + _NUM_BYTES + 2  # the newline, and at least one character
_LONGEST_TRAINING_LINE = 1000  # characters; SentencePiece skips lines over 4192 bytes
_LARGEST_MODEL = 1 << 28  # bytes; a million pieces need a tenth of it
_TRAINING_THREADS = 4  # fixed: the scores of a unigram model depend on it

_SURROGATE = re.compile("[\ud800-\udfff]")


class TokenizerKind(Enum):
    """The algorithms of SentencePiece."""

    bpe = "bpe"  # Sennrich et al. 2016, https://arxiv.org/abs/1508.07909
    unigram = "unigram"  # Kudo 2018, https://arxiv.org/abs/1804.10959


@dataclass(kw_only=True)
class TokenizerConfig:
    """How to obtain a tokenizer: train one on the training split, or load one that was trained before."""

    kind: TokenizerKind = TokenizerKind.bpe
    """The algorithm."""

    vocab_size: int = 8000
    """Number of ids, with the 4 special ones, the newline and the 256 bytes for rare characters."""

    character_coverage: float = 0.9995
    """Share of the training text whose characters become pieces; rarer characters are spelled in bytes."""

    max_training_characters: int = 50_000_000
    """Train on texts spread evenly over the training split, at most this many characters together."""

    path: str | None = None
    """Use this trained model and train nothing."""

    def validate(self) -> None:
        """Raise UserError for a value out of range."""
        if self.vocab_size < _SMALLEST_VOCABULARY:
            raise UserError(
                f"tokenizer.vocab_size ({self.vocab_size}) must be at least {_SMALLEST_VOCABULARY}: special "
                "ids, newline and bytes take the rest; set a larger one"
            )
        if not 0 < self.character_coverage <= 1:
            raise UserError(
                f"tokenizer.character_coverage ({self.character_coverage}) must be above 0 and at most 1; "
                "0.9995 suits most languages"
            )
        if self.max_training_characters < 1:
            raise UserError(
                f"tokenizer.max_training_characters ({self.max_training_characters}) must be at least 1; "
                "set a larger number"
            )


class Tokenizer:
    """A trained SentencePiece model with our special ids. Picklable."""

    def __init__(self, model: bytes) -> None:
        """``model`` is a serialized SentencePiece model, trained by :meth:`train`.

        Raises UserError if it is not one, or one with other special ids.
        """
        self._model = model
        self._processor = _open(model)
        self.newline_id: int = self._processor.piece_to_id(NEWLINE_PIECE)
        self.vocab_size: int = self._processor.get_piece_size()
        try:
            self.fingerprint: str = self._fingerprint()
        except UnicodeDecodeError as error:
            raise UserError("a SentencePiece model with pieces that are not UTF-8; train it again") from error

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a file of :meth:`to_bytes`. Raises UserError if the file is missing or damaged."""
        try:
            if Path(path).stat().st_size > _LARGEST_MODEL:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            model = Path(path).read_bytes()
        except OSError as error:
            raise UserError(
                f"tokenizer file {path} cannot be read ({error.strerror}); check the path, or train one"
            ) from error
        try:
            return cls(model)
        except UserError as error:
            raise UserError(f"tokenizer file {path}: {error}") from error

    def to_bytes(self) -> bytes:
        """The content of a file that :meth:`load` reads."""
        return self._model

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
        """Learn a vocabulary. The same texts in the same order give the same fingerprint.

        Raises UserError if there is no text, or too little of it for ``config.vocab_size``.
        """
        config.validate()
        kept = _spread(texts, config.max_training_characters)
        lines = [line for text in kept for line in _training_lines(text)]
        if not lines:
            raise UserError("the texts to train the tokenizer on are empty; check the dataset and its columns")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type=config.kind.value,
                vocab_size=config.vocab_size,
                character_coverage=config.character_coverage,
                pad_id=PAD_ID,
                unk_id=UNK_ID,
                bos_id=START_ID,
                eos_id=END_ID,
                user_defined_symbols=[NEWLINE_PIECE],
                byte_fallback=True,
                split_digits=True,
                normalization_rule_name="identity",  # normalize() does it, and loses less than NFKC
                num_threads=_TRAINING_THREADS,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise _explain(error, config.vocab_size) from error
        return cls(model.getvalue())

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``, without start or end id. Any string is fine; the empty one has no ids."""
        ids: list[int] = self._processor.encode(_to_pieces_text(text))
        return ids

    def encode_batch(self, texts: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        """Ids of each text, as :meth:`encode` gives them."""
        prepared = [_to_pieces_text(text) for text in texts]
        ids: list[list[int]] = self._processor.encode(prepared, num_threads=num_threads)
        return ids

    def encode_words(self, words: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        """Ids of each word of :func:`words_by_line`, which has its normal form."""
        ids: list[list[int]] = self._processor.encode(list(words), num_threads=num_threads)
        return ids

    @functools.cached_property
    def words_are_independent(self) -> bool:
        """Whether the ids of a line are those of its words (:func:`words_by_line`), one word after the other.

        So it is with BPE, which merges neighbours by rank, where no piece reaches over a space. With a unigram model
        it is nearly so: it adds up the scores of a whole text, whose rounding may decide between two segmentations.
        """
        pieces = [self._processor.id_to_piece(i) for i in range(self.vocab_size)]
        merges_by_rank = all(self._processor.get_score(i).is_integer() for i in range(self.vocab_size))
        return merges_by_rank and not any(_SPACE_PIECE in piece[1:] for piece in pieces)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, normalized; special ids are dropped."""
        text: str = self._processor.decode([int(i) for i in ids if i > END_ID])
        return "\n".join(map(" ".join, _split(text.replace(NEWLINE_PIECE, "\n"))))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each id stands for, for people to look at; a newline shows as ``<n>``."""
        return [NEWLINE_LABEL if i == self.newline_id else self._processor.id_to_piece(int(i)) for i in ids]

    def word_starts(self) -> list[bool]:
        """Of each id, whether it begins a word; a newline counts as one."""
        pieces = self.pieces(range(self.vocab_size))
        return [piece.startswith((_SPACE_PIECE, NEWLINE_LABEL)) for piece in pieces]

    def text_ends(self, ids: Sequence[int]) -> list[int]:
        """Of each of the ids of a text, where its characters end in :func:`normalize`'s form of that text.

        A newline ends where the line before it does; the bytes of one character all end where it does.
        """
        return list(itertools.accumulate((self._characters[i] for i in ids), initial=-1))[1:]

    @functools.cached_property
    def _characters(self) -> list[int]:
        """Of each id, how many characters it stands for: a space before each line and the bytes' first ones count."""
        pieces = [self._processor.id_to_piece(i) for i in range(self.vocab_size)]
        continues = [
            self._processor.is_byte(i) and 0x80 <= int(piece[1:-1], 16) < 0xC0 for i, piece in enumerate(pieces)
        ]
        lengths = [1 if self._processor.is_byte(i) else len(piece) for i, piece in enumerate(pieces)]
        lengths[self.newline_id] = 0  # the space that follows it stands for it
        return [0 if goes_on else length for goes_on, length in zip(continues, lengths, strict=True)]

    def __reduce__(self) -> tuple[Callable[[bytes], Tokenizer], tuple[bytes]]:
        return Tokenizer, (self._model,)

    def _fingerprint(self) -> str:
        """Hash of what decides the ids: how text is normalized, the pieces and their scores."""
        digest = hashlib.sha256(b"normalization 1")
        for i in range(self.vocab_size):
            piece: bytes = self._processor.id_to_piece(i).encode()
            digest.update(struct.pack("<If", len(piece), self._processor.get_score(i)) + piece)
        return digest.hexdigest()


def normalize(text: str) -> str:
    """The form of ``text`` that survives encoding.

    Unicode NFC; every kind of line break is a newline; runs of other white space are one space; lines are
    stripped and empty lines dropped. Lone surrogates become U+FFFD, and so does the private-use character
    that stands for a newline inside the model; U+2581, SentencePiece's space, becomes an underscore.
    """
    return "\n".join(map(" ".join, words_by_line(text)))


def words_by_line(text: str) -> list[list[str]]:
    """The words of each line of :func:`normalize`'s form."""
    if not text.isascii():
        text = _SURROGATE.sub("\ufffd", text).replace(NEWLINE_PIECE, "\ufffd").replace(_SPACE_PIECE, "_")
        text = unicodedata.normalize("NFC", text)
    return _split(text)


def _split(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.split())]


def _to_pieces_text(text: str) -> str:
    """Normalized text with a piece for each newline; the space after it begins the first word of the line."""
    return normalize(text).replace("\n", NEWLINE_PIECE + " ")


def _spread(texts: Iterable[str], max_characters: int) -> list[str]:
    """Every n-th text, n a power of three large enough that they fit into ``max_characters``.

    Not of two: where documents and summaries alternate, that would leave out all the summaries.
    """
    kept: list[str] = []
    total, stride = 0, 1
    for i, text in enumerate(texts):
        if i % stride:
            continue
        kept.append(text[:max_characters])
        total += len(kept[-1])
        while total > max_characters:
            kept, stride = kept[::3], stride * 3
            total = sum(map(len, kept))
    return kept


def _training_lines(text: str) -> Iterator[str]:
    """The lines of ``text``, long ones cut into several, between words if possible."""
    for line in normalize(text).splitlines():
        rest = line
        while len(rest) > _LONGEST_TRAINING_LINE:
            cut = rest.rfind(" ", 1, _LONGEST_TRAINING_LINE)
            cut = cut if cut > 0 else _LONGEST_TRAINING_LINE
            yield rest[:cut]
            rest = rest[cut:].lstrip()
        yield rest


def _open(model: bytes) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.load_from_serialized_proto(model)
    except (RuntimeError, UnicodeDecodeError) as error:  # the latter if it complains of bytes that are no text
        raise UserError("not a SentencePiece model, or a damaged one; train it again") from error
    special_ids = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
    has_our_pieces = UNK_ID not in processor.piece_to_id([NEWLINE_PIECE, "<0x00>", "<0xFF>"])
    if special_ids != (PAD_ID, UNK_ID, START_ID, END_ID) or not has_our_pieces:
        raise UserError(
            "a SentencePiece model with other special ids, or without the newline and byte pieces; "
            "use one that scripts/train_tokenizer.py made"
        )
    return processor


def _explain(error: RuntimeError, vocab_size: int) -> Exception:
    """The user's error behind a message of SentencePiece's trainer, or the error itself."""
    message = str(error)
    if largest := re.search(r"Vocabulary size too high.*<= (\d+)", message):
        return UserError(
            f"tokenizer.vocab_size ({vocab_size}) must be at most {largest[1]} for this little text; "
            f"set tokenizer.vocab_size={largest[1]} or less, or train on more text"
        )
    if required := re.search(r"smaller than required_chars[^\d]*\d+ vs (\d+)", message):
        return UserError(
            f"tokenizer.vocab_size ({vocab_size}) must be at least {required[1]} for this text's characters; "
            "set a larger one, or a lower tokenizer.character_coverage"
        )
    return error
