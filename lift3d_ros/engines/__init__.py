"""Runtime backends behind one protocol, and the export that feeds them."""
