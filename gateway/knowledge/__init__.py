"""Retrieval: documents in, the passages that answer a question out. `sync.Library` is the public face."""
