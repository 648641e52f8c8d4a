"""The page: the live status, models and pairs in a browser. It is a process of its own, which reads the store."""
