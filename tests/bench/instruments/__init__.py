"""Who sends what in a measurement, and how it is counted."""
