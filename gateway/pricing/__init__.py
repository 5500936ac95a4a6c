"""What tokens and training cost on which day, in nano-dollars; and what has no price."""
