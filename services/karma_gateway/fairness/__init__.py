"""Fair shares: no stream waits because another came first (decision 17)."""
