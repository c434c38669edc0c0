"""The walk over what is in the database already, by hand or in the background.

It imports what `delivery` imports, and `delivery`.
"""
