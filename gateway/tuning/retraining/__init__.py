"""Retraining a line as a plan of steps that goes on where it stopped."""
