"""What every run and every prediction came from, as records that can be read back."""
