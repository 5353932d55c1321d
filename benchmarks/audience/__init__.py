"""How fast audiences, scores, planning and imports are in a large shop, beside SQL written by hand."""
