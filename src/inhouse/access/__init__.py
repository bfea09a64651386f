"""Users, roles, keys and browser sessions."""
