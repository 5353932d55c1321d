"""One module per page: its addresses, and what its template is given."""
