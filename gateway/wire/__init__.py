"""The OpenAI surface as bytes: read what policies need, edit in place, find usage. No sockets."""
