"""Messages for other systems: kept until they are delivered, signed, sent again when nobody takes them."""
