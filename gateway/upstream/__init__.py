"""Talking to providers: connections, deadlines, retries, breakers. `providers/` has one file per dialect."""
