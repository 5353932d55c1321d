"""How fast winback delivers, beside other ways to do the same: `make bench`."""
