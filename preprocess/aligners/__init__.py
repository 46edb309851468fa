"""Word aligners behind one interface."""
