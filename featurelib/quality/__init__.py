"""Rows are good, or they are kept aside with every reason why not."""
