"""Who may do what under /admin: role keys, members, and the session of a person who has signed in."""
