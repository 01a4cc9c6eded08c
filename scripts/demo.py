"""Open a web page on this machine: paste a text, watch its summary appear, see where the model looked.

python scripts/demo.py run=outputs/sample
python scripts/demo.py run=outputs/sample input=data/article.txt
python scripts/demo.py run=outputs/mine compare=outputs/sample
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.demo import demo
from summarizer.commands.entry import execute, run
from summarizer.config import DemoConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="demo")
def main(composed: DictConfig) -> None:
    execute(demo, composed, DemoConfig)


if __name__ == "__main__":
    run(main)
