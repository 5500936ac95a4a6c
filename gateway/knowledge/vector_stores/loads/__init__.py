"""Files on their way into vector stores."""
