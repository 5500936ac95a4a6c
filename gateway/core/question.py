"""The part of a text that an embedder is shown of a question.

A sentence embedder takes some 0.1 ms a token, and a question stands at one end of a long text: its beginning says
what it is, its end what is wanted. Everyone who embeds a question cuts it here, so that each is embedded once.
"""

BEGINNING = 100
END = 200


def cut_question(text: str) -> str:
    """The text itself up to 300 characters; of a longer one the first 100 and the last 200. Never empty."""
    if len(text) <= BEGINNING + END:
        return text if text.strip() else "-"
    return f"{text[:BEGINNING]} {text[-END:]}"
