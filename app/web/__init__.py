"""HTTP in, HTTP out: pages, access rules, templates and static files. Never imports the taste engine."""
