"""Train a summarizer.

python scripts/train.py                                      the bundled sample, minutes on a CPU
python scripts/train.py model=small optimizer.lr=3e-4        other sizes and settings
python scripts/train.py experiment=cnn_dailymail             a whole recipe
python scripts/train.py run_dir=outputs/mine                 resumes if outputs/mine exists
python scripts/train.py -m optimizer.lr=1e-3,3e-4            a sweep: one run for each value, and a table
python scripts/train.py --help                               all groups and settings
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.entry import execute, run
from summarizer.commands.train import train
from summarizer.commands.train_sweep import TRAINING_SWEEP
from summarizer.config import TrainConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(composed: DictConfig) -> float | None:
    return execute(train, composed, TrainConfig, TRAINING_SWEEP)


if __name__ == "__main__":
    run(main, TRAINING_SWEEP)
