"""The nouns: frozen values without I/O. Every other package may import from here."""
