"""The landing folder: one compressed CSV file a table and day, taken as it is or refused with the reason."""
