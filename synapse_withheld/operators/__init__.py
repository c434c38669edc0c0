"""What people see: metrics, their words, who sends most, the page.

`series` declares every metric with its labels, and `metrics` counts in them.

It imports `rules` and `config`.
"""
