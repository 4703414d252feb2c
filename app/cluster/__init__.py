"""Earshot on several machines by Ray (extra ``cluster``): pages, encoders with a slot bank each, retrains as tasks."""
