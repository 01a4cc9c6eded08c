"""Training: batches in, checkpoints out."""
