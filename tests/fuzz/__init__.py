"""Hostile input for the readers, in a core that ends where it does wrong; see ``__main__``."""
