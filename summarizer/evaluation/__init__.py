"""Summaries in, numbers out: ROUGE, the baselines to beat, and the report of an evaluation."""
