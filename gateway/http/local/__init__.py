"""The parts of OpenAI's surface that are answered here and not upstream: files and vector stores."""
