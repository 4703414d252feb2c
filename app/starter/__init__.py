"""The starter catalogue: real songs as plain text that a person can review and edit."""
