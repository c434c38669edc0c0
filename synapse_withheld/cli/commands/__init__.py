"""A file for each subcommand: its arguments, what it prints, its exit codes."""
