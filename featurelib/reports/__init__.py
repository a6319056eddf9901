"""HTML pages that need nothing but themselves: no network, no script, one file each."""
