"""Budgets and limits as they are defined and shown."""
