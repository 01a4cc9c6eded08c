"""Foretell what a training would take: memory, time, cost, and what to change for most effect.

python scripts/plan.py experiment=cnn_dailymail gpus=8 device=h100         by the data sheet of a device
python scripts/plan.py model=large gpus=16 device=a100 runtime.strategy=fsdp price_per_gpu_hour=2.5
python scripts/plan.py model=tiny experiment=sample device=this measure=5  by this machine, beside what is measured
python scripts/plan.py output=plan.json                                    for programs
python scripts/plan.py --help                                              all settings
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.entry import execute, run
from summarizer.commands.plan import plan
from summarizer.config import PlanConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="plan")
def main(composed: DictConfig) -> None:
    execute(plan, composed, PlanConfig)


if __name__ == "__main__":
    run(main)
