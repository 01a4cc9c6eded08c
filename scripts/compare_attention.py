"""Compare attention mechanisms, a convolution and an LSTM: what they cost, and what they recall from how far.

python scripts/compare_attention.py                                         all of them, ten minutes on a CPU
python scripts/compare_attention.py mechanisms=[scaled_dot+rotary,lstm]     some of them
python scripts/compare_attention.py runtime=gpu cost.lengths=[1024,8192]    where attention is long
python scripts/compare_attention.py cost.lengths=[64,128] recall.steps=20 recall.test_lengths=[32,64]
                                                                            seconds, to see that it works
python scripts/compare_attention.py --help                                  all settings
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.compare_attention import compare_attention
from summarizer.commands.entry import execute, run
from summarizer.config import CompareAttentionConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="compare_attention")
def main(composed: DictConfig) -> None:
    execute(compare_attention, composed, CompareAttentionConfig)


if __name__ == "__main__":
    run(main)
