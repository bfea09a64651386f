"""Ways of making training rows: one module each."""
