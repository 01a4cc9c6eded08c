"""Write the bundled sample: invented news reports with summaries, from the templates in `sample_source/`.

    python data/make_sample.py [--output data/sample] [--seed 20]

The same seed gives the same text on every machine. `data/README.md` explains the template language.
"""

import argparse
import gzip
import json
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parent / "sample_source"
DEFAULT_OUTPUT = Path(__file__).parent / "sample"
DEFAULT_SEED = 20
SPLIT_SIZES = {"train": 5000, "validation": 300, "test": 300}
DETAIL_WORDS = (80, 160)  # details are added until the report has about this many words
MAX_WORDS = 180

NAME_SHARES = 16  # one name in sixteen belongs to validation, one to test, the rest to training
NUMBER_WORDS = {
    **{1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"},
    **{7: "seven", 8: "eight", 9: "nine", 10: "ten", 11: "eleven", 12: "twelve"},
}
SOUNDS_LIKE_A_CONSONANT = "(?!uni|use|euro|one|once)"
SOUNDS_LIKE_A_VOWEL = r"[aeiou]|8|11\b|18\b|hour|honest"


@dataclass(frozen=True)
class Person:
    first_name: str
    surname: str
    is_woman: bool
    role: str

    @property
    def introduction(self) -> str:
        return f"{self.first_name} {self.surname}" + (f", {self.role}," if self.role else "")


Fact = Person | int | str | dict[str, str]


@dataclass(frozen=True)
class Line:
    """One template, usable when every named fact has one of the given values."""

    conditions: dict[str, list[str]]
    text: str


@dataclass(frozen=True)
class Report:
    """One document with its summary, and the invented names that the two may mention."""

    id: str
    document: str
    summary: str
    names: frozenset[str]


Sections = dict[str, list[Line]]


def parse_sections(text: str) -> Sections:
    """Read `[section]` and `[section: fact=value or value, fact=value]` headings and the lines below them."""
    sections: Sections = {}
    name, conditions = "", dict[str, list[str]]()
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            name, _, rules = line.strip("[]").partition(": ")
            pairs = [rule.split("=") for rule in rules.split(", ") if rule]
            conditions = {key: values.split(" or ") for key, values in pairs}
        else:
            sections.setdefault(name, []).append(Line(conditions, line))
    return sections


class Names:
    """Invented names, built from two parts; every name belongs to exactly one split."""

    def __init__(self, parts: Sections) -> None:
        self._parts = {name: " ".join(line.text for line in lines).split() for name, lines in parts.items()}

    def invent(self, kind: str, split: str, rng: random.Random) -> str:
        while True:
            head, tail = rng.choice(self._parts[f"{kind} heads"]), rng.choice(self._parts[f"{kind} tails"])
            if head[-1] != tail[0] and split_of(head + tail) == split:
                return head + tail

    def first_name(self, *, is_woman: bool, rng: random.Random) -> str:
        return rng.choice(self._parts["women" if is_woman else "men"])


def write_number(number: int) -> str:
    """Years must not get a comma, so only larger numbers have one."""
    return f"{number:,}" if number >= 10_000 else str(number)


def split_of(name: str) -> str:
    return {0: "validation", 1: "test"}.get(zlib.crc32(name.encode()) % NAME_SHARES, "train")


@dataclass
class Story:
    """What is true in one report. `names` holds every invented name, so that none serves two roles."""

    names_source: Names
    split: str
    rng: random.Random
    facts: dict[str, Fact] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def decide(self, lines: list[Line]) -> None:
        """Draw the facts in the order written; later ones may depend on earlier ones."""
        for line in lines:
            if self.fits(line):
                key, _, definition = line.text.partition(" = ")
                name, *attributes = key.split("/")
                self.facts[name] = self._draw(definition, attributes)

    def fits(self, line: Line) -> bool:
        return all(self.word(key) in values for key, values in line.conditions.items())

    def word(self, slot: str) -> str:
        """The plain wording of `fact` or `fact.attribute`."""
        name, _, attribute = slot.partition(".")
        fact = self.facts[name]
        if isinstance(fact, Person):
            he, his = ("she", "her") if fact.is_woman else ("he", "his")
            return {"": fact.surname, "introduction": fact.introduction, "he": he, "his": his}[attribute]
        if isinstance(fact, int):
            return NUMBER_WORDS.get(fact, write_number(fact)) if attribute == "words" else write_number(fact)
        return fact if isinstance(fact, str) else fact[attribute]

    def _draw(self, definition: str, attributes: list[str]) -> Fact:
        """The right-hand side of a fact, as `data/README.md` lists them."""
        if person := re.fullmatch("person(?:, (.*))?", definition):
            return self._new_person(role=expand(person[1] or "", self.rng, self.word))
        if definition in ("place", "company"):
            return self._new_name(definition)
        if definition.startswith("@"):
            return self.facts[definition[1:]]
        if total := re.fullmatch(r"(\w+) \+ (\w+)", definition):
            return sum(fact for name in total.groups() if isinstance(fact := self.facts[name], int))
        if span := re.fullmatch(r"(\d+)\.\.(\d+)(?: step (\d+))?", definition):
            return self._new_number(int(span[1]), int(span[2]), int(span[3] or 1))
        values = self.rng.choice(definition.split(" | ")).split(" / ")
        return dict(zip(["", *attributes], values, strict=True))

    def _new_person(self, role: str) -> Person:
        is_woman = self.rng.random() < 0.5
        first_name = self.names_source.first_name(is_woman=is_woman, rng=self.rng)
        return Person(first_name, self._new_name("surname"), is_woman, role)

    def _new_name(self, kind: str) -> str:
        while (name := self.names_source.invent(kind, self.split, self.rng)) in self.names:
            pass
        self.names.add(name)
        return name

    def _new_number(self, first: int, last: int, step: int) -> int:
        """A number no other fact has: two equal numbers would hide which role the summary is about."""
        while (number := self.rng.randrange(first, last + 1, step)) in self.facts.values():
            pass
        return number


@dataclass
class Writer:
    """Turns templates into sentences; whoever is mentioned first gets a first name and a role."""

    story: Story
    introduced: set[str] = field(default_factory=set)

    def write(self, template: str) -> str:
        return polish(expand(template, self.story.rng, self._fill))

    def _fill(self, slot: str) -> str:
        if slot in self.introduced or not isinstance(self.story.facts.get(slot), Person):
            return self.story.word(slot)
        self.introduced.add(slot)
        return self.story.word(f"{slot}.introduction")


def expand(template: str, rng: random.Random, fill: Callable[[str], str]) -> str:
    """Choose one wording in every `<one|another>`, the inner ones first, then fill the `{slots}`."""
    while "<" in template:
        template = re.sub(r"<([^<>]*)>", lambda match: rng.choice(match[1].split("|")), template)
    return re.sub(r"\{([\w.]+)\}", lambda match: fill(match[1]), template)


def polish(text: str) -> str:
    """Choose between a and an, drop doubled punctuation, and start every sentence with a capital."""
    text = re.sub(rf"\b([Aa]) (?={SOUNDS_LIKE_A_CONSONANT}(?:{SOUNDS_LIKE_A_VOWEL}))", r"\1n ", text, flags=re.I)
    text = re.sub(r",(?=[.,;:?!])", "", text)
    return re.sub(r"(^\"?|[.!?]\"? \"?)([a-z])", lambda match: match[1] + match[2].upper(), text)


def compose_document(domain: Sections, story: Story) -> str:
    """Scene first, then the facts in any order with details and quotes between them."""
    rng = story.rng

    def usable(section: str) -> list[str]:
        return [line.text for line in domain[section] if story.fits(line)]

    scene = [rng.choice(usable("scene")), rng.choice(usable("background"))]
    facts = [rng.choice(usable(name)) for name in domain if name.startswith("fact ")]
    rng.shuffle(facts)
    facts += [rng.choice(options) for name in domain if name.startswith("later ") and (options := usable(name))]
    details = rng.sample(usable("detail"), k=len(usable("detail")))
    wanted_words = rng.randint(*DETAIL_WORDS)
    while details and count_words(*scene, *facts) < wanted_words:
        facts.insert(rng.randint(0, len(facts)), details.pop())
    writer = Writer(story)
    return " ".join(writer.write(template) for template in [*scene, *facts])


def compose_summary(domain: Sections, story: Story) -> str:
    """One sentence per line. The facts alone choose the wording: at most one template fits each line."""
    writer = Writer(story, introduced=set(story.facts))
    sentences = []
    for name in domain:
        if name.startswith("summary "):
            fitting = [line.text for line in domain[name] if story.fits(line)]
            assert len(fitting) <= 1, f"{name} is ambiguous: {fitting}"
            sentences += [writer.write(template) for template in fitting]
    return "\n".join(sentences)


def supports(document: str, summary: str, names: set[str]) -> bool:
    """Whether the document has every name and number of the summary, and a bearable length."""
    words = set(re.findall(r"\w+", document))
    words |= {str(number) for number, word in NUMBER_WORDS.items() if word in document.lower().split()}
    needed = {word for word in re.findall(r"\w+", summary) if word in names or word.isdigit()}
    return needed <= words and count_words(document) <= MAX_WORDS


def count_words(*texts: str) -> int:
    return sum(len(text.split()) for text in texts)


def load_domains() -> dict[str, Sections]:
    paths = sorted((SOURCE / "domains").glob("*.txt"))
    return {path.stem: parse_sections(path.read_text("utf-8")) for path in paths}


def make_reports(split: str, seed: int = DEFAULT_SEED) -> Iterator[Report]:
    """All reports of one split, the domains in turn."""
    names = Names(parse_sections((SOURCE / "names.txt").read_text("utf-8")))
    domains = load_domains()
    for number in range(SPLIT_SIZES[split]):
        name = list(domains)[number % len(domains)]
        story = Story(names, split, random.Random(f"{seed}/{split}/{number}"))
        story.decide(domains[name]["facts"])
        summary = compose_summary(domains[name], story)
        document = compose_document(domains[name], story)
        while not supports(document, summary, story.names):
            document = compose_document(domains[name], story)
        yield Report(f"{split}-{number:04d}-{name}", document, summary, frozenset(story.names))


def write_split(split: str, path: Path, seed: int) -> None:
    rows = ({"id": r.id, "document": r.document, "summary": r.summary} for r in make_reports(split, seed))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the bundled sample.")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder for the three files")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for split in SPLIT_SIZES:
        path = arguments.output / f"{split}.jsonl.gz"
        write_split(split, path, arguments.seed)
        print(f"{path}: {SPLIT_SIZES[split]:,} reports, {path.stat().st_size / 1024:,.0f} KiB")


if __name__ == "__main__":
    main()
