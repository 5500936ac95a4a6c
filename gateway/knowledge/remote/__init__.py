"""What connectors over a network share: asking, guarding, listing."""
