"""Use cases as verbs. Services receive database sessions and the engine; they know neither HTTP nor torch."""
