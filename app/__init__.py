"""Earshot: a circle of friends, one shared language model, one small adapter each."""
