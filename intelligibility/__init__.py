"""What the four stages share: the release, the recogniser, the similarity and the scoring."""
