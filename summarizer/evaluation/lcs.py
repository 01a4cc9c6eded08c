"""Longest common subsequences of words, a column of the table at a time in the bits of one integer.

The recurrence is that of Crochemore et al. 2001, "A fast and practical bit-vector algorithm for the longest common
subsequence problem", in the form of Hyyrö 2004. Bit i stands for word i of the reference: after a column, it is 0
where the table grows by one from row i to row i + 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Places = dict[str, int]  # word -> an integer with bit i set for each place i of the word


def places_of(words: Sequence[str]) -> Places:
    """Where each word stands."""
    places: Places = {}
    for place, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << place
    return places


def lcs_length(reference: Places, length: int, candidate: Iterable[str]) -> int:
    """Words in a longest common subsequence. ``length`` counts the words of the reference."""
    all_places = (1 << length) - 1
    column = all_places
    for word in candidate:
        if here := reference.get(word):
            matched = column & here
            column = ((column + matched) | (column - matched)) & all_places
    return length - column.bit_count()


def lcs_places(reference: Places, length: int, candidate: Iterable[str]) -> int:
    """Bits of the reference words of one longest common subsequence, the one that ``rouge-score`` reads from its table.

    Of several it takes, from the last cell on: a match wherever the words are equal, else a step to the word before
    in the reference if the table allows it, else a step back in the candidate. A column's steps up end at the highest
    place with a match or with growth, so each column takes one. Of columns in a row without a match one is enough: all
    end in the same place.
    """
    all_places = (1 << length) - 1
    column = all_places
    columns: list[tuple[int, int]] = []  # matches, and where steps up end
    has_match = True
    for word in candidate:
        if here := reference.get(word):
            matched = column & here
            column = ((column + matched) | (column - matched)) & all_places
            columns.append((here, here | (column ^ all_places)))
            has_match = True
        elif has_match:
            columns.append((0, column ^ all_places))
            has_match = False
    taken, reachable = 0, all_places
    for here, ends in reversed(columns):
        highest = (ends & reachable).bit_length()
        if not highest:
            break
        bit = 1 << highest - 1
        if here & bit:
            taken |= bit
            reachable = bit - 1
        else:
            reachable = bit | bit - 1
    return taken
