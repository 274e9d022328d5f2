"""What evaluate.py alone needs: responses, scores, mapping, tables, figures, the report."""
