"""Pages for people: what runs, who gets what and why, every message as it looks, and what came of it."""
