"""The releases, read only: what they hold, as records, and what is wrong with them."""
