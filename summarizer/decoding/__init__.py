"""Encoder output in, token ids out: search over a next-token function, and whole documents to summaries."""
