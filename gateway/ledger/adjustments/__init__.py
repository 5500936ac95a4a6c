"""Corrections of what rows cost: never edits, always rows of their own with an actor and a reason."""
