"""One file per storage. A cache knows nothing of the model, of sharing, or of another cache."""
