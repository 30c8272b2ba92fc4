"""What happened: records of cells, the journal, what a failure means and which are the same."""
