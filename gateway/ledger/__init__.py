"""Budgets and usage: reserve, journal, close once, ship to the database, report."""
