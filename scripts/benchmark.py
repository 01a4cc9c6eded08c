"""Time training, decoding, scoring and reading, beside other libraries that do the same work.

python scripts/benchmark.py                                          updates of the base model, beside what is installed
python scripts/benchmark.py runtime.precision=fp32                   in single precision
python scripts/benchmark.py what=rouge                               ROUGE of lead-3, beside rouge-score
python scripts/benchmark.py what=data                                encoding texts, beside datasets.map
python scripts/benchmark.py model=tiny vocab_size=4000 repeats=2     seconds, to see that it works
python scripts/benchmark.py --help                                   all settings

pip install -e ".[peers]" brings the other libraries.
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.benchmark import benchmark
from summarizer.commands.entry import execute, run
from summarizer.config import BenchmarkConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="benchmark")
def main(composed: DictConfig) -> None:
    execute(benchmark, composed, BenchmarkConfig)


if __name__ == "__main__":
    run(main)
