"""The four commands do their job, one after the other, as a user runs them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from summarizer import Summarizer
from summarizer.config import DecodingOverrides
from summarizer.tokenizer import Tokenizer, normalize

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

TEXT = 'It\'s late, said Ann: the "bridge" (built in 1998) costs ${sum} and stays shut. Ferries run instead.'
LINES = [{"id": "a", "document": "The bridge is shut."}, {"id": "b", "document": "Ferries run.\nOften."}]
CHECKPOINT = ["manifest.json", "model.safetensors", "trainer.json", "trainer.safetensors"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_training_writes_the_files_of_a_run_and_nothing_else(smoke: TrainedRun) -> None:
    files = {path for path in contents(smoke.folder) if not path.startswith("tensorboard/")}
    assert files == {
        ".lock",
        "best.json",
        "config.yaml",
        "metrics.jsonl",
        "tokenizer.model",
        "train.log",
        *(f"checkpoints/step-{step:07}/{name}" for step in (5, 10) for name in CHECKPOINT),
    }
    assert list((smoke.folder / "tensorboard").glob("events.out.tfevents.*"))


def test_training_tells_on_standard_error_how_it_goes_and_what_comes_next(smoke: TrainedRun) -> None:
    assert smoke.outcome.out == ""
    for words in ("data sample", "parameters: width 32", "updates", "device", "10/10"):
        assert words in smoke.outcome.err
    for words in ("validation loss", "lead-3", f"evaluate.py run={smoke.folder}", f"--logdir {smoke.folder}"):
        assert words in smoke.outcome.err
    assert "error" not in smoke.outcome.err
    assert "warning" not in smoke.outcome.err.lower()


def test_training_logs_each_window_and_validation(smoke: TrainedRun) -> None:
    rows = [json.loads(line) for line in (smoke.folder / "metrics.jsonl").read_text().splitlines()]
    steps = {kind: [row["step"] for row in rows if kind in row] for kind in ("train", "validation")}
    assert steps == {"train": [2, 4, 6, 8, 10], "validation": [5, 10]}


@pytest.mark.slow
def test_repeating_a_finished_command_says_so_and_changes_no_checkpoint(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(smoke.folder, run_dir)
    before = contents(run_dir / "checkpoints")
    arguments = [argument for argument in smoke.arguments if not argument.startswith("run_dir=")]
    outcome = command("train", *arguments, f"run_dir={run_dir}")
    assert outcome.status == 0, outcome.err
    assert "continued after step 10" in outcome.err
    assert "finished step 10" in outcome.err
    assert "speed:" not in outcome.err
    assert contents(run_dir / "checkpoints") == before


@pytest.mark.slow
def test_more_steps_continue_a_finished_run(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(smoke.folder, run_dir)
    arguments = [argument for argument in smoke.arguments if not argument.startswith("run_dir=")]
    outcome = command("train", *arguments, f"run_dir={run_dir}", "training.max_steps=12")
    assert outcome.status == 0, outcome.err
    assert "finished step 12" in outcome.err
    assert re.search(r"speed: [\d,]+ real tokens/s, [\d.]+ [GT]FLOP/s, \d+% of what matrix products reach", outcome.err)
    assert (run_dir / "checkpoints" / "step-0000012").is_dir()


@pytest.mark.slow
def test_training_without_a_run_dir_makes_one_under_outputs(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    few = ["training.max_steps=1", "validation.rouge_examples=0"]
    for _ in range(2):
        outcome = command("train", "experiment=smoke", f"data.cache_dir={smoke.cache}", *few)
        assert outcome.status == 0, outcome.err
    runs = list((tmp_path / "work" / "outputs").iterdir())
    assert len(runs) == 2
    assert all((run / "config.yaml").is_file() for run in runs)


def test_evaluation_prints_a_table_and_writes_metrics_and_predictions(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    output = tmp_path / "scores"
    outcome = command("evaluate", f"run={smoke.folder}", "limit=4", "resamples=50", f"output={output}")
    assert outcome.status == 0, outcome.err
    for words in (
        "ROUGE-1",
        "ROUGE-2",
        "ROUGE-L ",
        "ROUGE-Lsum",
        "95% interval",
        "F1 - lead-3",
        "reference",
        "prediction",
    ):
        assert words in outcome.out
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["examples"] == 4
    assert metrics["lead3"]["rouge1"]["f1"] > metrics["rouge1"]["f1"]  # ten updates teach nothing
    assert f"{100 * metrics['lead3']['rouge1']['f1']:.2f}" in outcome.out
    assert "50" in metrics["protocol"]
    rows = [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    for row in rows:
        assert set(row) == {"id", "document", "reference", "prediction", "share_read", "scores"}
        assert set(row["scores"]) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert sorted(path.name for path in output.iterdir()) == ["metrics.json", "predictions.jsonl", "report.html"]
    assert (output / "report.html").read_text(encoding="utf-8").count('<article class="example"') == 4


def test_a_run_folder_alone_is_enough_wherever_it_is(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    """Copied elsewhere, with the original and the caches out of reach."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(smoke.folder, elsewhere)
    hidden = [(path, path.with_name(path.name + "-away")) for path in (smoke.folder, smoke.cache)]
    try:
        for path, away in hidden:
            path.rename(away)
        outcome = command("evaluate", f"run={elsewhere}", "limit=2", "resamples=50", "samples=0")
        assert outcome.status == 0, outcome.err
        assert "ROUGE-Lsum" in outcome.out
        assert command("generate", f"run={elsewhere}", f"text={TEXT}").status == 0
        assert not any(path.exists() for path, _ in hidden)
    finally:
        for path, away in hidden:
            away.rename(path)
    assert (elsewhere / "evaluation" / "test" / "metrics.json").is_file()


@pytest.mark.slow
def test_other_data_can_be_scored(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    rows = [{"id": "mine", "document": "The bridge is shut. Ferries run.", "summary": "No bridge."}]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) for row in rows))
    arguments = [f"data_path={tmp_path / 'mine.jsonl'}", f"output={tmp_path / 'scores'}", "resamples=10"]
    outcome = command("evaluate", f"run={smoke.folder}", *arguments)
    assert outcome.status == 0, outcome.err
    assert json.loads((tmp_path / "scores" / "predictions.jsonl").read_text())["id"] == "mine"


def test_only_the_summary_is_on_standard_output_however_the_text_is_given(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    """Commas, quotes, brackets and ${...} of a text are text."""
    run = f"run={smoke.folder}"
    (tmp_path / "article.txt").write_text(TEXT, encoding="utf-8-sig")
    (tmp_path / "articles.jsonl").write_text(json.dumps({"id": "a", "document": TEXT}) + "\n")
    expected = Summarizer.from_run(smoke.folder).summarize([TEXT])[0]
    assert expected
    given = command("generate", run, f"text={TEXT}")
    assert (given.status, given.out, given.err) == (0, expected + "\n", "")
    assert command("generate", run, f"input={tmp_path / 'article.txt'}").out == expected + "\n"
    assert command("generate", run, stdin=TEXT.encode()).out == expected + "\n"
    listed = command("generate", run, f"input={tmp_path / 'articles.jsonl'}")
    assert json.loads(listed.out)["summary"] == expected


@pytest.mark.slow
@pytest.mark.parametrize("text", ["'a, b'", '"a, b"'])
def test_a_text_quoted_for_hydra_loses_these_quotes(text: str, command: Command, smoke: TrainedRun) -> None:
    run = f"run={smoke.folder}"
    assert command("generate", run, f"text={text}").out == command("generate", run, "text=a, b").out


@pytest.mark.slow
def test_a_folder_of_texts_becomes_a_folder_of_summaries_or_a_list(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    source, output = tmp_path / "my texts (1)", tmp_path / "my summaries, new"
    source.mkdir()
    for name, text in (("b.txt", LINES[1]["document"]), ("a.txt", LINES[0]["document"]), ("c.md", "No text.")):
        (source / name).write_text(text)
    expected = Summarizer.from_run(smoke.folder).summarize([line["document"] for line in LINES])
    outcome = command("generate", f"run={smoke.folder}", f"input={source}", f"output={output}/")
    assert (outcome.status, outcome.out) == (0, ""), outcome.err
    assert "2 summaries written to" in outcome.err
    written = {name: content.decode() for name, content in contents(output).items()}
    assert written == {"a.txt": expected[0] + "\n", "b.txt": expected[1] + "\n"}
    listed = command("generate", f"run={smoke.folder}", f"input={source}")
    rows = [json.loads(line) for line in listed.out.splitlines()]
    assert [(row["id"], row["summary"]) for row in rows] == [("a.txt", expected[0]), ("b.txt", expected[1])]


@pytest.mark.slow
def test_the_version_is_told(in_subprocess: Command) -> None:
    assert re.fullmatch(r"summarizer \d+\.\d+\.\d+\n", in_subprocess("train", "--version").out)


@pytest.mark.slow
def test_a_list_of_articles_becomes_a_list_of_summaries_in_their_order(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    source, output = tmp_path / "articles.jsonl", tmp_path / "new" / "summaries.jsonl"
    source.write_text("\n\n".join(map(json.dumps, LINES)))
    outcome = command("generate", f"run={smoke.folder}", f"input={source}", f"output={output}")
    assert outcome.status == 0, outcome.err
    assert outcome.out == ""
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a", "b"]
    summaries = Summarizer.from_run(smoke.folder).summarize([line["document"] for line in LINES])
    assert [row["summary"] for row in rows] == summaries


def test_a_page_shows_every_article_and_a_picture_one(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    source, page, picture = tmp_path / "articles.jsonl", tmp_path / "new" / "page.html", tmp_path / "look.png"
    source.write_text("\n".join(map(json.dumps, LINES)))
    outcome = command("generate", f"run={smoke.folder}", f"input={source}", f"attention={page}")
    assert outcome.status == 0, outcome.err
    summaries = Summarizer.from_run(smoke.folder).summarize([line["document"] for line in LINES])
    assert [json.loads(line)["summary"] for line in outcome.out.splitlines()] == summaries
    scripts = re.findall(r'<script type="application/json" class="article">(.*?)</script>', page.read_text())
    articles = [json.loads(script) for script in scripts]
    tokenizer = Tokenizer.load(smoke.folder / "tokenizer.model")
    for article, line, summary in zip(articles, LINES, summaries, strict=True):
        assert article["name"] == line["id"]
        assert article["source"]["pieces"] == [*tokenizer.pieces(tokenizer.encode(line["document"])), "</s>"]
        shown = "".join(article["target"]["texts"]).lstrip().replace("\n ", "\n")
        assert normalize(shown) == summary
    outcome = command("generate", f"run={smoke.folder}", f"text={TEXT}", f"attention={picture}")
    assert outcome.status == 0, outcome.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]


def test_validation_logs_where_the_model_looked(smoke: TrainedRun) -> None:
    events = EventAccumulator(str(smoke.folder / "tensorboard"), size_guidance={"images": 0}).Reload()
    tags = [tag.removeprefix("validation_images/cross_attention/") for tag in events.Tags()["images"]]
    assert sorted(tags) == ["average", "every_head", "layer_01"]
    images = {tag: events.Images(tag) for tag in events.Tags()["images"]}
    assert {len(logged) for logged in images.values()} == {2}
    assert sum(logged[0].width > 200 for logged in images.values()) == len(images)


def test_a_text_too_long_for_the_model_is_summarized_with_a_warning(command: Command, smoke: TrainedRun) -> None:
    tokens = len(Tokenizer.load(smoke.folder / "tokenizer.model").encode("word " * 1000))
    outcome = command("generate", f"run={smoke.folder}", stdin=b"word " * 1000)
    assert outcome.status == 0
    assert outcome.out.strip()
    (warning,) = outcome.err.splitlines()
    assert warning.startswith("warning: standard input")
    assert f"read 255 of {tokens:,} tokens ({100 * 255 / tokens:.1f}%), for the model takes 255;" in warning


@pytest.mark.slow
def test_settings_of_decoding_replace_those_of_the_run_one_by_one(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    overrides = ["decoding.max_tokens=3", f"output={tmp_path / 'short.jsonl'}"]
    assert command("generate", f"run={smoke.folder}", f"text={TEXT}", *overrides).status == 0
    summarizer = Summarizer.from_run(smoke.folder, decoding=DecodingOverrides(max_tokens=3))
    short, full = summarizer.summarize([TEXT])[0], Summarizer.from_run(smoke.folder).summarize([TEXT])[0]
    assert json.loads((tmp_path / "short.jsonl").read_text())["summary"] == short
    assert len(summarizer.generator._tokenizer.encode(short)) <= 3 < len(summarizer.generator._tokenizer.encode(full))


@pytest.mark.slow
def test_sampling_depends_on_its_seed_alone(command: Command, smoke: TrainedRun) -> None:
    arguments = [f"run={smoke.folder}", f"text={TEXT}", "decoding=sample", "decoding.max_tokens=16"]
    first, again, other = (command("generate", *arguments, f"decoding.seed={seed}") for seed in (1, 1, 2))
    assert first.out == again.out != other.out


@pytest.mark.slow
def test_a_run_with_a_pointer_is_evaluated_and_summarizes(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    run = tmp_path / "run"
    pointer = ["model.pointer.enabled=true", "model.pointer.score=additive", "training.coverage_weight=1"]
    few = ["training.max_steps=1", "validation.rouge_examples=2"]
    outcome = command("train", "experiment=smoke", f"data.cache_dir={smoke.cache}", f"run_dir={run}", *pointer, *few)
    assert outcome.status == 0, outcome.err
    assert "p_gen" in outcome.err
    outcome = command("evaluate", f"run={run}", "limit=2", "resamples=20")
    assert outcome.status == 0, outcome.err
    assert "ROUGE-Lsum" in outcome.out
    summary = command("generate", f"run={run}", f"text={TEXT}")
    assert (summary.status, summary.err) == (0, "")
    assert summary.out == Summarizer.from_run(run).summarize([TEXT])[0] + "\n"


def test_a_checkpoint_can_be_chosen(smoke: TrainedRun) -> None:
    best = json.loads((smoke.folder / "best.json").read_text())["step"]
    assert Summarizer.from_run(smoke.folder).step == best
    assert Summarizer.from_run(str(smoke.folder), checkpoint="5").step == 5
    assert Summarizer.from_run(smoke.folder, checkpoint="last").step == 10


@pytest.mark.slow
def test_a_tokenizer_trained_by_itself_serves_a_training(command: Command, tmp_path: Path) -> None:
    file, cache = tmp_path / "new" / "tokenizer.model", f"data.cache_dir={tmp_path / 'cache'}"
    few = ["data.limit.train=64", "tokenizer.vocab_size=500", "tokenizer=unigram"]
    outcome = command("train_tokenizer", f"output={file}", cache, *few)
    assert outcome.status == 0, outcome.err
    assert outcome.out == ""
    assert "500 pieces" in outcome.err
    run_dir = tmp_path / "run"
    arguments = [f"run_dir={run_dir}", cache, f"tokenizer.path={file}", "training.max_steps=1"]
    outcome = command("train", "experiment=smoke", *arguments, "validation.rouge_examples=0")
    assert outcome.status == 0, outcome.err
    assert "vocabulary 500" in outcome.err
    assert (run_dir / "tokenizer.model").read_bytes() == file.read_bytes()


@pytest.mark.slow
def test_the_commands_work_from_a_shell_in_another_folder(
    in_subprocess: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    run = f"run={smoke.folder}"
    table = in_subprocess("evaluate", run, "limit=2", "resamples=20", "output=scores", cwd=tmp_path)
    assert table.status == 0, table.err
    assert "ROUGE-Lsum" in table.out
    summary = in_subprocess("generate", run, cwd=tmp_path, stdin=TEXT.encode())
    assert summary.status == 0, summary.err
    assert summary.out == Summarizer.from_run(smoke.folder).summarize([TEXT])[0] + "\n"
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]
