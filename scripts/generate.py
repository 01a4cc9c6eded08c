"""Summarize texts of your own with a trained run. Only summaries go to standard output.

python scripts/generate.py run=outputs/sample text="An article ..."
python scripts/generate.py run=outputs/sample input=article.txt
python scripts/generate.py run=outputs/sample input=articles.jsonl output=summaries.jsonl
python scripts/generate.py run=outputs/sample input=articles/ output=summaries/
python scripts/generate.py run=outputs/sample input=article.txt attention=attention.html
cat article.txt | python scripts/generate.py run=outputs/sample
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.entry import execute, run
from summarizer.commands.generate import generate
from summarizer.config import GenerateConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="generate")
def main(composed: DictConfig) -> None:
    execute(generate, composed, GenerateConfig)


if __name__ == "__main__":
    run(main)
