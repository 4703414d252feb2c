"""How fast Earshot is, beside the stock way and the limit of the machine: ``python -m benchmarks.speed``."""
