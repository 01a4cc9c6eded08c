"""Tell what is in a run folder, whether it is whole, how far the run is, and what its training command would do now.

python scripts/inspect_run.py run=outputs/sample
python scripts/inspect_run.py run=outputs/sample json=true
python scripts/inspect_run.py --help
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.entry import execute, run
from summarizer.commands.inspect_run import inspect_run
from summarizer.config import InspectRunConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="inspect_run")
def main(composed: DictConfig) -> None:
    execute(inspect_run, composed, InspectRunConfig)


if __name__ == "__main__":
    run(main)
