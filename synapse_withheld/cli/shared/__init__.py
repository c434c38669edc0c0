"""What the subcommands share: reading configurations, pages and databases."""
