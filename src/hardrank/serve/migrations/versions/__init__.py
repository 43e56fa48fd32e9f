"""How the schema came to be, one step a file; they run in order and only forward."""
