"""Switchyard: a self-hosted model gateway that decides, explains and keeps the books."""

__version__ = "0.1.0"
