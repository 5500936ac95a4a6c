"""The engine, the session, the migration check. Tables stand with the packages that own them."""
