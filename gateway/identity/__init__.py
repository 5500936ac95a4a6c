"""Teams and keys: who is calling; in memory, revoked within a second."""
