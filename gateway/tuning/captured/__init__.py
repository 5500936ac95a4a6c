"""Calls of teams that opted in, kept for training and evaluation until their time is over."""
