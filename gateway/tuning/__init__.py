"""Fine-tuned models as model lines: what they were trained on, and whether a call is like that."""
