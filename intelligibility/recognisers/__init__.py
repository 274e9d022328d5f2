"""Speech recognisers behind one face: layers by name, and words."""
