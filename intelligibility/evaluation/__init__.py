"""From similarity to percent words correct: answers, mapping, scores, tables, figures, report."""
