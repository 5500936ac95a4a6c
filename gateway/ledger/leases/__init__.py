"""Budgets shared by replicas: taken from the database ahead of need, given back when a replica ends."""
