"""The bundled offline upstream: an OpenAI-compatible server for rehearsals, tests and the bench.

It speaks the wire, counts tokens, keeps its own bill and fails on demand; it is not a model and says so in
every answer. Nothing of the gateway is special-cased for it. Imports only `gateway.core`.
"""
