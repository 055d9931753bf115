"""One file per way to keep a vector in fewer bits. A codec knows nothing of caches: vectors become parts, and back."""
