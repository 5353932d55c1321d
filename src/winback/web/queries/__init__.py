"""What the pages read from the database, one module per page."""
