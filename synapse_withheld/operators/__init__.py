"""What people see: metrics, their words, who sends most, the page.

It imports `rules` and `config`.
"""
