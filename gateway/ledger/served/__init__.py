"""Whose calls were, and what answered them."""
