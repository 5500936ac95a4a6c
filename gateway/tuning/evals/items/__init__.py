"""The items of runs, in the database: what is to be graded, and what came of it."""
