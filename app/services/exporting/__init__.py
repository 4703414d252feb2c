"""Take one's listening and taste away."""

from app.services.exporting.account import account_zip
from app.services.exporting.listening import csv_lines, feedback_lines, jsonl

__all__ = ["account_zip", "csv_lines", "feedback_lines", "jsonl"]
