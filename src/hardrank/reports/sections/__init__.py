"""One file a section of the page; each is a function from evidence to HTML."""
