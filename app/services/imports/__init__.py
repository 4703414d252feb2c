"""Bring listening from elsewhere: checked files, one reader a format, preview, run, report, undo."""
