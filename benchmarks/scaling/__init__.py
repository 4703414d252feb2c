"""What it takes to serve many more: hardware on paper, from unit costs that were measured. docs/scaling.md tells it."""
