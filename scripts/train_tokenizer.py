"""Train a SentencePiece tokenizer on a dataset's training split. Training a model does this by itself.

python scripts/train_tokenizer.py output=tokenizer.model
python scripts/train_tokenizer.py output=tokenizer.model data=cnn_dailymail tokenizer=unigram tokenizer.vocab_size=16000
"""

import hydra
from omegaconf import DictConfig

from summarizer.commands.entry import execute, run
from summarizer.commands.train_tokenizer import train_tokenizer
from summarizer.config import TrainTokenizerConfig, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="../configs", config_name="train_tokenizer")
def main(composed: DictConfig) -> None:
    execute(train_tokenizer, composed, TrainTokenizerConfig)


if __name__ == "__main__":
    run(main)
