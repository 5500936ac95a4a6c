"""Signing in by OpenID Connect: the provider, and its ID tokens."""
