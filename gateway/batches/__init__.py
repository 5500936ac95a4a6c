"""Batches: files of requests that are answered within a day, here or by a provider at its batch rates."""
