"""Data: named datasets and local files in, batches of token ids out."""
