"""Evals: what is to hold of a model's answers, and runs that look whether it does."""
