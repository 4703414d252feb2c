"""The taste engine: base, song text, encoder, trainer, slots, store, ranking, evaluation."""
