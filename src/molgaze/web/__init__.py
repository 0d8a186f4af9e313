"""``molgaze serve``: the reader behind HTTP, and a page to use it on (extra: web)."""
