"""Many scans, one after the other: where they come from, who computes them, and what is kept of them."""
