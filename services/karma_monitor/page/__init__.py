"""The page: what the stream is worth, in a browser. A process of its own, which reads the store."""
