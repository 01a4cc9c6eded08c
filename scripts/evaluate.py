"""Score a trained run, or anybody's summaries, with ROUGE beside lead-3; or compare two.

python scripts/evaluate.py run=outputs/sample
python scripts/evaluate.py run=outputs/sample split=validation limit=100 decoding=greedy
python scripts/evaluate.py predictions=mine.jsonl references=references.jsonl
python scripts/evaluate.py compare=[outputs/sample,outputs/other]
python scripts/evaluate.py run=outputs/sample --multirun decoding.beam_size=1,4,8
python scripts/evaluate.py --help
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.entry import execute, run
from summarizer.commands.evaluate import evaluate
from summarizer.commands.evaluate_sweep import EVALUATION_SWEEP
from summarizer.config import EvaluateConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
def main(composed: DictConfig) -> float | None:
    return execute(evaluate, composed, EvaluateConfig, EVALUATION_SWEEP)


if __name__ == "__main__":
    run(main, EVALUATION_SWEEP)
