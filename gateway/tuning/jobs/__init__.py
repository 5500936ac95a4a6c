"""Fine-tuning jobs: asked for, kept, carried to their end whatever dies, told as events."""
