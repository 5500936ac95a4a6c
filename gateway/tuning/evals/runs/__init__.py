"""Runs of evals, in the database."""
