"""How Zendesk is asked on somebody's behalf."""

from gateway.knowledge.remote.fetch import basic, found_secret


def account_headers(username: str, token: str | None) -> dict[str, str]:
    """The headers of an agent's API token; none without a token. Raises FetchFailed when the secret is missing."""
    return {} if token is None else basic(f"{username}/token", found_secret(token, "token"))
