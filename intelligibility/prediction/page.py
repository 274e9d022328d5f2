"""One page to hear and see what was scored."""
