"""How good are the recommendations? All tasks, baselines and rows on any directory in the plain format."""
