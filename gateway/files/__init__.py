"""What callers uploaded: a name, a purpose, the bytes."""
