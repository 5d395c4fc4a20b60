"""The rules of the site: which images may be used here, where they come from, and what is added to them."""
