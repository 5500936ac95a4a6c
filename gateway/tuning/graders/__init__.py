"""Graders: OpenAI's JSON, one file each, run here."""
