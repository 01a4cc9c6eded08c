"""Attention weights in, pictures and pages for people out."""
