"""What proves a cache: an oracle, the inputs drawn for it, and how far rounding may take a right answer."""
