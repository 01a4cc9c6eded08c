"""Mechanisms that let a position see others, side by side: what each costs, and what it can recall from how far.

Attention with every score function and several position encodings; a convolution and an LSTM for reference.
"""
