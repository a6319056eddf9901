"""What a job calls: one module a step, and what they share."""
